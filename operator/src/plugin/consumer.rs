//! A consumer's request, to see what consumers see.

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Maximum duration of each step: connection, handshake, answer.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of the head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The header with the code of a relay's own answer.
const ERROR_HEADER: &str = "adit-error";

/// What a consumer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The code, if the answer is the relay's own.
    pub(super) code: Option<String>,
}

/// A public URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The host, in lower case and without a final dot.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// Whether the scheme is `https`.
    pub(super) is_tls: bool,
    /// The path and the query.
    pub(super) path: String,
}

impl Target {
    /// Parses a URL; `None` unless it is an http or https URL with a host.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self { host, port, is_tls, path })
    }
}

/// Connects to an address.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    step("connection", TcpStream::connect(address)).await
}

/// Starts TLS on a connection. The certificate is verified with `ca` (PEM), or with the CAs that the system trusts.
pub(super) async fn start_tls(
    target: &Target,
    tcp: TcpStream,
    ca: Option<&str>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(tls_config(ca)?));
    step("TLS handshake", connector.connect(name, tcp)).await
}

/// When the server's certificate expires, in seconds since 1970.
pub(super) fn not_after(tls: &TlsStream<TcpStream>) -> Option<i64> {
    let certificate = tls.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Sends a GET request on a connection, and reads the head of the answer.
pub(super) async fn get<S>(target: &Target, stream: S) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES);
    let handshake = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = request(target)?;
    let response =
        step("answer", async { sender.send_request(request).await.map_err(io::Error::other) }).await;
    connection.abort();
    let response = response?;
    let code = response.headers().get(ERROR_HEADER).and_then(|code| code.to_str().ok());
    Ok(Answer { status: response.status().as_u16(), code: code.map(str::to_owned) })
}

fn request(target: &Target) -> io::Result<Request<Empty<Bytes>>> {
    let Target { host, port, is_tls, path } = target;
    let is_default_port = *port == if *is_tls { 443 } else { 80 };
    let host = if is_default_port { host.clone() } else { format!("{host}:{port}") };
    Request::get(path.as_str())
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("kubectl-adit/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(io::Error::other)
}

async fn step<T>(name: &str, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let overdue = |_| {
        let message = format!("no {name} within {} s", STEP_TIMEOUT.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    timeout(STEP_TIMEOUT, future).await.map_err(overdue)?
}

fn tls_config(ca: Option<&str>) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let Some(pem) = ca else {
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(io::Error::other)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(builder.with_webpki_verifier(verifier.map_err(io::Error::other)?).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn answer(bytes: &'static str) -> io::Result<Answer> {
        let (stream, mut server) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let mut request = [0; 1024];
            let read = server.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            assert!(
                request.starts_with("get /cart?x=1 http/1.1\r\nhost: shop.eu.example.com:8443\r\n"),
                "{request}"
            );
            server.write_all(bytes.as_bytes()).await.unwrap();
        });
        get(&Target::parse("https://Shop.eu.example.com:8443/cart?x=1").unwrap(), stream).await
    }

    #[tokio::test]
    async fn the_code_tells_a_relay_s_answer_from_a_service_s() {
        let relay =
            "HTTP/1.1 503 Service Unavailable\r\nAdit-Error: tunnel_offline\r\ncontent-length: 0\r\n\r\n";
        let code = Some("tunnel_offline".to_owned());
        assert_eq!(answer(relay).await.unwrap(), Answer { status: 503, code });
        let service = answer("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\nadit-error: no").await;
        assert_eq!(service.unwrap(), Answer { status: 200, code: None });
        assert!(answer("SSH-2.0-x\r\n\r\n").await.is_err());
        assert!(answer("HTTP/1.1 200 OK\r\n").await.is_err(), "the head breaks off");
    }

    #[test]
    fn a_url_is_taken_apart_as_a_consumer_does() {
        let target = Target::parse("https://Shop.eu.example.com.:8443/cart?x=1").unwrap();
        let parts = (target.host.as_str(), target.port, target.path.as_str());
        assert_eq!(parts, ("shop.eu.example.com", 8443, "/cart?x=1"));
        assert_eq!(Target::parse("http://a.b").unwrap().port, 80);
        for bad in ["shop.eu.example.com", "ftp://a.b/", "https://"] {
            assert!(Target::parse(bad).is_none(), "{bad}");
        }
    }
}
