//! Calls to a CA's server: HTTPS with certificates of one's own choice, within a time, and with what the server says of
//! when to come back.

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
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpStream, time::timeout};

/// The longest that one call takes.
const CALL: Duration = Duration::from_secs(15);
/// The most bytes of one answer.
const MAX_BYTES: usize = 1 << 20;
/// The most characters of an answer that is not for programs.
const MAX_SHOWN: usize = 200;

/// A CA's server that cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The CA bundle has no certificate that can be used.
    #[error("the CA bundle has no certificate that can be used")]
    Bundle,
    /// The system's certificates cannot be used.
    #[error("the system's CA certificates cannot be used")]
    Roots(#[source] rustls::Error),
}

/// A call that had no answer for programs.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL is not one of HTTPS.
    #[error("{0:?} is not an https:// URL")]
    Url(String),
    /// There is no connection.
    #[error("cannot reach {0}: {1}")]
    Connect(String, #[source] std::io::Error),
    /// The connection broke.
    #[error("{0} broke the connection off")]
    Broken(String, #[source] hyper::Error),
    /// It took too long.
    #[error("{0} did not answer in {seconds} s", seconds = CALL.as_secs())]
    Slow(String),
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

/// What the server's last answers said beside their content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    /// The seconds after which to come back, as the last error said that said so: what comes after it, like a look at how
    /// the order stands, does not take it back.
    pub(crate) retry_after: Option<u64>,
    /// By how many seconds the server's clock is ahead of this one.
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

    /// What the last answers said.
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
        match timeout(CALL, exchange(&self.tls, &host, request)).await {
            Ok(answered) => answered,
            Err(_) => Err(CallError::Slow(host)),
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
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
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
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(seconds_until(&later).is_some_and(|seconds| (90..=100).contains(&seconds)));
    }

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        assert!(matches!(Http::new(Some("")), Err(ClientError::Bundle)));
        assert!(matches!(Http::new(Some("-----BEGIN X-----")), Err(ClientError::Bundle)));
    }
}
