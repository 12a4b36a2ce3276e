//! TXT records that are set by lego's HTTP request protocol.

use crate::fixture::AcmeFixture;
use adit_acme::{
    CertificateState, Dns01, Proof, Request,
    dns::{Server, TsigKey},
};
use adit_testkit::bind::KEY_NAME;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;

const LOGIN: &str = "adit:secret";

/// A service that changes a zone for users with the login, and records the requests.
struct Service {
    server: Server,
    key: TsigKey,
    asked: Mutex<Vec<String>>,
}

impl Service {
    /// Gives its URL.
    async fn start(fixture: &AcmeFixture) -> (Arc<Self>, String) {
        let service = Arc::new(Self {
            server: Server::new(&fixture.bind.address()),
            key: TsigKey::new(KEY_NAME, fixture.bind.key()).unwrap(),
            asked: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/hook/", listener.local_addr().unwrap().port());
        let (acceptor, own) = (fixture.pebble.acceptor(), service.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, own) = (acceptor.clone(), own.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let answer = service_fn(|request| own.answer(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), answer)
                        .await;
                });
            }
        });
        (service, url)
    }

    async fn answer(&self, request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let status = |status| Ok(Response::builder().status(status).body(Full::default()).unwrap());
        let login = format!("Basic {}", BASE64_STANDARD.encode(LOGIN));
        if parts.headers.get(header::AUTHORIZATION).is_none_or(|value| *value != login) {
            return status(StatusCode::UNAUTHORIZED);
        }
        let body = body.collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let (name, text) = (body["fqdn"].as_str().unwrap(), body["value"].as_str().unwrap());
        let name = name.strip_suffix('.').expect("it is the whole name");
        let add = parts.uri.path() == "/hook/present";
        assert!(add || parts.uri.path() == "/hook/cleanup", "{}", parts.uri);
        self.server.update(&self.key, name, text, add).await.unwrap();
        self.asked.lock().unwrap().push(format!("{} {name}", parts.uri.path()));
        status(StatusCode::OK)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_set_and_taken_away_by_a_service_of_one_s_own() {
    let fixture = AcmeFixture::new().await;
    let (service, url) = Service::start(&fixture).await;
    let with = |id: &str, login: Option<&str>, names: &[&str]| {
        let proof = Proof::Dns01(Dns01::HttpReq { url: url.clone(), login: login.map(str::to_owned) });
        Request { id: id.to_owned(), proof, ..fixture.request(names) }
    };
    let refused = fixture.advance(&with("refused", None, &["shop.example.test"])).await;
    assert_eq!(refused.state, CertificateState::Failed { reason: "DNSUpdateFailed" }, "{:?}", refused.order);
    let problem = refused.order.unwrap().problem.unwrap();
    assert!(problem.contains("401"), "{problem}");
    assert!(!fixture.pebble.log().contains("/chalZ/"), "the CA was not told to look");

    // A wildcard, and one behind a CNAME.
    let names = ["shop.example.test", "*.shop.example.test", "alias.example.test"];
    let issued = fixture.advance(&with("good", Some(LOGIN), &names)).await;
    assert_eq!(issued.state, CertificateState::Issued, "{:?}", issued.order);
    let mut asked = service.asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(
        asked,
        [
            "/hook/cleanup _acme-challenge.shop.example.test",
            "/hook/cleanup _acme-challenge.shop.example.test",
            "/hook/cleanup proofs.delegated.example.test",
            "/hook/present _acme-challenge.shop.example.test",
            "/hook/present _acme-challenge.shop.example.test",
            "/hook/present proofs.delegated.example.test",
        ]
    );
}
