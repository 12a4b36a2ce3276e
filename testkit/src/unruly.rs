//! A CA on a bad day: stands in front of a Pebble, and answers in its place as it is told.

use crate::pebble::Pebble;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

const POISONED: &str = "no code panics while it holds this lock";

/// What happens in place of the CA's answer.
#[derive(Clone, Debug)]
pub enum Instead {
    /// Another answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its Retry-After.
        retry_after: Option<String>,
        /// Its Content-Type.
        kind: &'static str,
        /// Its body.
        body: String,
    },
    /// None at all: the connection stays open.
    Hang,
    /// The CA does what it is asked, and its answer is lost: the connection stays open.
    Lose,
    /// None at all: the connection ends.
    Cut,
}

impl Instead {
    /// A problem document as CAs send it; `kind` is the error's type without its prefix.
    pub fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let body = serde_json::json!({
            "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status,
        });
        let body = body.to_string();
        Self::Answer { status, retry_after: None, kind: "application/problem+json", body }
    }

    /// Text, as a load balancer in front of a CA sends it.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer { status, retry_after: None, kind: "text/plain", body: body.to_owned() }
    }

    /// The same with a Retry-After.
    #[must_use]
    pub fn retry_after(self, value: impl Into<String>) -> Self {
        match self {
            Self::Answer { status, kind, body, .. } => {
                Self::Answer { status, retry_after: Some(value.into()), kind, body }
            }
            other => other,
        }
    }
}

#[derive(Debug, Default)]
struct Rules {
    /// The beginning of a path, for how many requests more, and what happens.
    instead: Vec<(String, usize, Instead)>,
    /// The paths that were asked for.
    asked: Vec<String>,
    /// What was signed of requests that were passed on: path and payload.
    told: Vec<(String, Value)>,
    /// How many requests have got as far as they will, without an answer.
    held: usize,
}

/// The CA; it ends when it is dropped. Pebble names its own URLs by the Host that it is asked under, so all of an order
/// comes this way.
#[derive(Debug)]
pub struct UnrulyCa {
    address: SocketAddr,
    rules: Arc<Mutex<Rules>>,
    _tasks: JoinSet<()>,
}

impl UnrulyCa {
    /// Listens on a port that the system chooses. Its certificate is Pebble's.
    pub async fn start(pebble: &Pebble) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (acceptor, connector) = (pebble.acceptor(), connector(pebble));
        let rules: Arc<Mutex<Rules>> = Arc::default();
        let (mut tasks, own, to) = (JoinSet::new(), rules.clone(), pebble.address());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.expect("a connection");
                let (acceptor, connector, rules) = (acceptor.clone(), connector.clone(), own.clone());
                connections.spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(|request| answer(request, &rules, &connector, to));
                    let http = hyper::server::conn::http1::Builder::new();
                    // An end in the middle is what some tests are about.
                    let _ = http.serve_connection(TokioIo::new(tls), service).await;
                });
            }
        });
        Self { address, rules, _tasks: tasks }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }

    /// What happens to so many of the next requests whose paths begin like this.
    pub fn instead(&self, path: &str, times: usize, instead: Instead) {
        self.rules.lock().expect(POISONED).instead.push((path.to_owned(), times, instead));
    }

    /// Everything is the CA's own affair again.
    pub fn calm(&self) {
        self.rules.lock().expect(POISONED).instead.clear();
    }

    /// How many requests have got as far as [`Instead::Hang`] and [`Instead::Lose`] let them.
    pub fn held(&self) -> usize {
        self.rules.lock().expect(POISONED).held
    }

    /// What the CA was told by requests whose paths begin like this: what was signed, without signatures.
    pub fn told(&self, path: &str) -> Vec<Value> {
        let rules = self.rules.lock().expect(POISONED);
        rules
            .told
            .iter()
            .filter(|(told, _)| told.starts_with(path))
            .map(|(_, payload)| payload.clone())
            .collect()
    }

    /// How many requests there were whose paths begin like this.
    pub fn asked(&self, path: &str) -> usize {
        let rules = self.rules.lock().expect(POISONED);
        rules.asked.iter().filter(|asked| asked.starts_with(path)).count()
    }
}

fn connector(pebble: &Pebble) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pebble.ca_text().as_bytes()).expect("a CA")).expect("a CA");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(client))
}

fn instead(rules: &Mutex<Rules>, path: &str) -> Option<Instead> {
    let mut rules = rules.lock().expect(POISONED);
    rules.asked.push(path.to_owned());
    let rule =
        rules.instead.iter_mut().find(|(begin, left, _)| *left > 0 && path.starts_with(begin.as_str()))?;
    rule.1 -= 1;
    Some(rule.2.clone())
}

async fn answer(
    request: Request<Incoming>,
    rules: &Mutex<Rules>,
    connector: &TlsConnector,
    to: SocketAddr,
) -> io::Result<Response<Full<Bytes>>> {
    match instead(rules, request.uri().path()) {
        None => forward(request, rules, connector, to).await.map_err(io::Error::other),
        Some(Instead::Hang) => hold(rules).await,
        Some(Instead::Lose) => {
            forward(request, rules, connector, to).await.map_err(io::Error::other)?;
            hold(rules).await
        }
        Some(Instead::Cut) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Instead::Answer { status, retry_after, kind, body }) => {
            let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
            if let Some(value) = retry_after {
                response = response.header(header::RETRY_AFTER, value);
            }
            response.body(Full::new(Bytes::from(body))).map_err(io::Error::other)
        }
    }
}

async fn hold<T>(rules: &Mutex<Rules>) -> T {
    rules.lock().expect(POISONED).held += 1;
    std::future::pending().await
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What is signed in the body of a request to a CA.
fn payload(body: &[u8]) -> Option<Value> {
    let signed: Value = serde_json::from_slice(body).ok()?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(signed["payload"].as_str()?).ok()?;
    serde_json::from_slice(&payload).ok()
}

async fn forward(
    request: Request<Incoming>,
    rules: &Mutex<Rules>,
    connector: &TlsConnector,
    to: SocketAddr,
) -> Result<Response<Full<Bytes>>, AnyError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if let Some(payload) = payload(&body) {
        rules.lock().expect(POISONED).told.push((parts.uri.path().to_owned(), payload));
    }
    let request = Request::from_parts(parts, Full::new(body));
    let tcp = TcpStream::connect(to).await?;
    let tls = connector.connect(ServerName::try_from("localhost")?, tcp).await?;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
    let driver = tokio::spawn(connection);
    let answered = async {
        let (parts, body) = send.send_request(request).await?.into_parts();
        Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
    }
    .await;
    driver.abort();
    answered
}
