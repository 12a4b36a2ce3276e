//! Services that speak HTTPS, and what is kept of connections to any service.

use crate::relay::{Relay, http, soon};
use adit::{Service, TunnelSpec};
use adit_protocol::Kind;
use adit_testkit::{http::Service as Upstream, wait::until};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, path::Path, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// Answers with the version of HTTP and the request's body.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let version = if request.version() == Version::HTTP_2 { "2" } else { "1" };
    let host = request
        .uri()
        .authority()
        .map(ToString::to_string)
        .or_else(|| request.headers().get("host").and_then(|host| host.to_str().ok()).map(str::to_owned));
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = format!("{version} {} {}", host.unwrap_or_default(), String::from_utf8_lossy(&body));
    Ok(Response::new(Full::new(text.into())))
}

/// A service on `localhost` that offers these protocols by ALPN; its authority is written to the file.
async fn service(alpn: &[&[u8]], authority: &Path) -> (TunnelSpec, JoinHandle<()>) {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(authority, certificate.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                let Ok(io) = tls.accept(tcp).await else { return };
                let agreed = io.get_ref().1.alpn_protocol() == Some(b"h2");
                let io = TokioIo::new(io);
                if agreed {
                    let server = http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(io, service_fn(answer)).await;
                } else {
                    let _ = http1::Builder::new().serve_connection(io, service_fn(answer)).await;
                }
            });
        }
    });
    let mut spec = TunnelSpec::new(Service::parse(Kind::Http, &format!("https://localhost:{port}")).unwrap());
    spec.upstream_ca = Some(authority.to_owned());
    (spec, serving)
}

#[tokio::test]
async fn an_https_service_gets_the_version_that_tls_agrees_on() {
    for (alpn, version) in [(&[b"h2".as_slice(), b"http/1.1"][..], "2"), (&[b"http/1.1"], "1"), (&[], "1")] {
        let mut relay = Relay::start().await;
        let (spec, serving) = service(alpn, &relay.folder.path().join("service.pem")).await;
        let (_client, _events, session) = relay.serve(spec).await;
        // The first one finds out, with a body that must not be lost; the second one knows.
        for _ in 0..2 {
            let (response, to) = session.open(session.request("POST", "/").body(()).unwrap(), false).await;
            soon(adit_mux::body::send(Full::new("body".into()), to)).await.unwrap();
            let response = soon(response).await.unwrap();
            assert_eq!(response.status(), 200, "{version}: {:?}", response.headers());
            let body = soon(crate::relay::read_all(response.into_body())).await.unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), format!("{version} shop.adit.localhost body"));
        }
        serving.abort();
    }
}

#[tokio::test]
async fn a_service_with_an_untrusted_certificate_gets_no_request() {
    let mut relay = Relay::start().await;
    let (mut spec, serving) = service(&[b"http/1.1"], &relay.folder.path().join("service.pem")).await;
    // An authority, but not the service's.
    spec.upstream_ca = Some(relay.ca());
    let (_client, _events, session) = relay.serve(spec).await;
    let (response, _) = session.get("/").await;
    let code = response.headers()["adit-error"].to_str().unwrap().to_owned();
    assert_eq!((response.status().as_u16(), code.as_str()), (502, "service_protocol"));
    serving.abort();
}

#[tokio::test]
async fn what_a_burst_needed_is_given_back() {
    let (service, mut relay) = (Upstream::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let mut streams = vec![];
    for _ in 0..50 {
        streams.push(session.open(session.request("GET", "/slow/3000").body(()).unwrap(), true).await.0);
    }
    for stream in streams {
        let body = soon(stream).await.unwrap().into_body();
        assert_eq!(soon(crate::relay::read_all(body)).await.unwrap(), b"slow");
    }
    assert!(service.connections() >= 50, "they were open at once");
    until("two at most are kept", || service.open_connections() <= 2).await;
    assert_eq!(session.get("/").await.1, b"hello");
}
