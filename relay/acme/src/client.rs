//! HTTPS calls to a CA: with a configured trust anchor, a time limit, and the server's Retry-After.

use adit_system::POISONED;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};
use tokio::{net::TcpStream, time::timeout};

/// The maximum time of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum size of one answer in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The maximum number of characters of an error that is not JSON.
const MAX_SHOWN: usize = 200;

/// A client for a CA that cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The CA bundle has no valid certificate.
    #[error("the CA bundle has no valid certificate")]
    Bundle,
    /// The system's certificates cannot be used.
    #[error("the system's CA certificates cannot be used")]
    Roots(#[source] rustls::Error),
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL is not one of HTTPS.
    #[error("{0:?} is not an https:// URL")]
    Url(String),
    /// The server cannot be reached.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] std::io::Error),
    /// The connection was closed.
    #[error("{0} closed the connection")]
    Broken(String, #[source] hyper::Error),
    /// The server did not answer in time.
    #[error("{0} did not answer in {seconds} s", seconds = CALL_TIMEOUT.as_secs())]
    Timeout(String),
    /// The answer was too long.
    #[error("the answer of {0} has more than {MAX_BYTES} bytes, or ended early")]
    Body(String),
    /// An error that is not a problem document.
    #[error("{host} answered {status}: {text}")]
    Status {
        /// The server.
        host: String,
        /// The status.
        status: u16,
        /// The beginning of its text.
        text: String,
    },
}

/// Headers of the server's last answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    /// The Retry-After in seconds of the last error that had one. Later answers, as to a poll of the order, do not clear it.
    pub(crate) retry_after: Option<u64>,
    /// The seconds by which the server's clock is ahead of this one.
    pub(crate) clock_ahead: Option<i64>,
}

/// Calls one CA.
#[derive(Clone)]
pub(crate) struct Http {
    tls: Arc<ClientConfig>,
    notes: Arc<Mutex<Notes>>,
}

impl Http {
    /// Trusts the CAs of a bundle (PEM), or those that the system trusts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) fn new(bundle: Option<&str>) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Roots)?;
        let config = match bundle {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect();
                let (added, _) = roots.add_parsable_certificates(found);
                if added == 0 {
                    return Err(ClientError::Bundle);
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            None => builder.with_platform_verifier().map_err(ClientError::Roots)?.with_no_client_auth(),
        };
        Ok(Self { tls: Arc::new(config), notes: Arc::default() })
    }

    /// The headers of the last answers.
    pub(crate) fn notes(&self) -> Notes {
        *self.notes.lock().expect(POISONED)
    }

    /// Sends a request and returns the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CallError> {
        let url = request.uri().clone();
        let host = url.host().unwrap_or_default().to_owned();
        match timeout(CALL_TIMEOUT, exchange(&self.tls, &host, request)).await {
            Ok(answered) => answered,
            Err(_) => Err(CallError::Timeout(host)),
        }
    }

    async fn call_ca(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Error> {
        let (parts, body) = request.into_parts();
        let host = parts.uri.host().unwrap_or_default().to_owned();
        let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes());
        let answered = self.call(Request::from_parts(parts, Full::new(body))).await;
        let response = answered.map_err(|error| Error::Other(Box::new(error)))?;
        self.note(&response);
        let status = response.status();
        if (status.is_client_error() || status.is_server_error()) && !is_json(&response) {
            let text = String::from_utf8_lossy(response.body()).trim().chars().take(MAX_SHOWN).collect();
            let error = CallError::Status { host, status: status.as_u16(), text };
            return Err(Error::Other(Box::new(error)));
        }
        Ok(response)
    }

    fn note(&self, response: &Response<Bytes>) {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let failed = response.status().is_client_error() || response.status().is_server_error();
        let mut notes = self.notes.lock().expect(POISONED);
        if let Some(seconds) = text(header::RETRY_AFTER).filter(|_| failed).and_then(seconds_until) {
            notes.retry_after = Some(seconds);
        }
        if let Some(date) = text(header::DATE).and_then(seconds_of) {
            notes.clock_ahead = Some(date - unix_now());
        }
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move { http.call_ca(request).await.map(|answer| answer.map(Full::new).into()) })
    }
}

fn unix_now() -> i64 {
    i64::try_from(adit_system::clock::now()).unwrap_or(i64::MAX)
}

/// An HTTP date in seconds since 1970.
fn seconds_of(text: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(text).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// The seconds of a Retry-After, which is a number or a date.
fn seconds_until(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| u64::try_from(seconds_of(text)? - unix_now()).ok())
}

fn is_json(response: &Response<Bytes>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
        && serde_json::from_slice::<serde_json::Value>(response.body()).is_ok()
}

/// One request on a connection of its own: calls to a CA are few and far between.
async fn exchange(
    tls: &Arc<ClientConfig>,
    host: &str,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, CallError> {
    let url = request.uri().clone();
    let bad = || CallError::Url(url.to_string());
    let authority = url.authority().ok_or_else(bad)?.clone();
    if url.scheme_str() != Some("https") {
        return Err(bad());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let connect = |error| CallError::Connect(authority.to_string(), error);
    let tcp = TcpStream::connect((bare, authority.port_u16().unwrap_or(443))).await.map_err(connect)?;
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| bad())?;
    let stream = tokio_rustls::TlsConnector::from(tls.clone()).connect(name, tcp).await.map_err(connect)?;
    let broken = |error| CallError::Broken(host.to_owned(), error);
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let path = url.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| bad())?;
    *request.uri_mut() = path;
    let value = authority.as_str().parse().map_err(|_| bad())?;
    request.headers_mut().insert(header::HOST, value);
    let driver = tokio::spawn(connection);
    let answered = async {
        let (parts, body) = send.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(|_| CallError::Body(host.to_owned()))?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
    .await;
    driver.abort();
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_a_number_or_a_date() {
        assert_eq!(seconds_until("120"), Some(120));
        assert_eq!(seconds_until("soon"), None);
        assert_eq!(seconds_until("Thu, 01 Jan 1970 00:00:00 GMT"), None);
        let later = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(100));
        assert!(seconds_until(&later).is_some_and(|seconds| (90..=100).contains(&seconds)));
    }

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        assert!(matches!(Http::new(Some("")), Err(ClientError::Bundle)));
        assert!(matches!(Http::new(Some("-----BEGIN X-----")), Err(ClientError::Bundle)));
    }
}
