//! A CA that fails: a proxy in front of a Pebble that injects faults.

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

const LOCK_POISONED: &str = "no code panics while it holds this lock";

/// A fault in place of the CA's response.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another response.
    Respond {
        /// Its status.
        status: u16,
        /// Its Retry-After.
        retry_after: Option<String>,
        /// Its Content-Type.
        kind: &'static str,
        /// Its body.
        body: String,
    },
    /// No response; the connection stays open.
    Hang,
    /// The CA handles the request, and its response is lost; the connection stays open.
    LoseResponse,
    /// No response; the connection is closed.
    Disconnect,
}

impl Fault {
    /// A problem document as CAs send it; `kind` is the error's type without its prefix.
    pub fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let body = serde_json::json!({
            "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status,
        });
        let body = body.to_string();
        Self::Respond { status, retry_after: None, kind: "application/problem+json", body }
    }

    /// Text, as a load balancer in front of a CA sends it.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Respond { status, retry_after: None, kind: "text/plain", body: body.to_owned() }
    }

    /// Adds a Retry-After to a response.
    #[must_use]
    pub fn retry_after(self, value: impl Into<String>) -> Self {
        match self {
            Self::Respond { status, kind, body, .. } => {
                Self::Respond { status, retry_after: Some(value.into()), kind, body }
            }
            other => other,
        }
    }
}

#[derive(Debug, Default)]
struct Rules {
    /// The prefix of a path, the number of requests left, and the fault.
    faults: Vec<(String, usize, Fault)>,
    /// The paths of all requests.
    paths: Vec<String>,
    /// Path and signed payload of each forwarded request.
    payloads: Vec<(String, Value)>,
    /// Number of requests that are kept without a response.
    held: usize,
}

/// The proxy; it ends when it is dropped. Pebble makes its URLs from the Host of the request, so every request of an order
/// comes through the proxy.
#[derive(Debug)]
pub struct FaultyCa {
    address: SocketAddr,
    rules: Arc<Mutex<Rules>>,
    _tasks: JoinSet<()>,
}

impl FaultyCa {
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
                    let service = service_fn(|request| respond(request, &rules, &connector, to));
                    let http = hyper::server::conn::http1::Builder::new();
                    // Some tests close connections within a request.
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

    /// Injects a fault into the next `times` requests whose paths have this prefix.
    pub fn inject(&self, path: &str, times: usize, fault: Fault) {
        self.rules.lock().expect(LOCK_POISONED).faults.push((path.to_owned(), times, fault));
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.rules.lock().expect(LOCK_POISONED).faults.clear();
    }

    /// Number of requests that [`Fault::Hang`] and [`Fault::LoseResponse`] keep without a response.
    pub fn held_requests(&self) -> usize {
        self.rules.lock().expect(LOCK_POISONED).held
    }

    /// The signed payloads of forwarded requests whose paths have this prefix.
    pub fn payloads(&self, path: &str) -> Vec<Value> {
        let rules = self.rules.lock().expect(LOCK_POISONED);
        rules
            .payloads
            .iter()
            .filter(|(forwarded, _)| forwarded.starts_with(path))
            .map(|(_, payload)| payload.clone())
            .collect()
    }

    /// Number of requests whose paths have this prefix.
    pub fn request_count(&self, path: &str) -> usize {
        let rules = self.rules.lock().expect(LOCK_POISONED);
        rules.paths.iter().filter(|requested| requested.starts_with(path)).count()
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

/// Records a request; returns the fault that is to be injected.
fn next_fault(rules: &Mutex<Rules>, path: &str) -> Option<Fault> {
    let mut rules = rules.lock().expect(LOCK_POISONED);
    rules.paths.push(path.to_owned());
    let rule =
        rules.faults.iter_mut().find(|(prefix, left, _)| *left > 0 && path.starts_with(prefix.as_str()))?;
    rule.1 -= 1;
    Some(rule.2.clone())
}

async fn respond(
    request: Request<Incoming>,
    rules: &Mutex<Rules>,
    connector: &TlsConnector,
    to: SocketAddr,
) -> io::Result<Response<Full<Bytes>>> {
    match next_fault(rules, request.uri().path()) {
        None => forward(request, rules, connector, to).await.map_err(io::Error::other),
        Some(Fault::Hang) => hold(rules).await,
        Some(Fault::LoseResponse) => {
            forward(request, rules, connector, to).await.map_err(io::Error::other)?;
            hold(rules).await
        }
        Some(Fault::Disconnect) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Fault::Respond { status, retry_after, kind, body }) => {
            let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
            if let Some(value) = retry_after {
                response = response.header(header::RETRY_AFTER, value);
            }
            response.body(Full::new(Bytes::from(body))).map_err(io::Error::other)
        }
    }
}

async fn hold<T>(rules: &Mutex<Rules>) -> T {
    rules.lock().expect(LOCK_POISONED).held += 1;
    std::future::pending().await
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The signed payload of a request to a CA.
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
        rules.lock().expect(LOCK_POISONED).payloads.push((parts.uri.path().to_owned(), payload));
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
