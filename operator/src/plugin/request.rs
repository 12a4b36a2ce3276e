//! A consumer's request, to see what consumers see.

use rustls::{
    ClientConfig, ClientConnection, StreamOwned,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of an answer's head.
const MOST: usize = 64 * 1024;

/// What a consumer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) status: u16,
    /// The relay's own code, when the answer is the relay's.
    pub(super) code: Option<String>,
}

/// Where and what to ask.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    pub(super) path: String,
}

/// As JSON for programs.
pub(super) fn pretty(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("what is shown is JSON");
    text.push('\n');
    text
}

/// A connection to a target over TLS; the certificate is verified with a CA, or with those that the system trusts.
pub(super) struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    pub(super) fn open(target: &Target, address: SocketAddr, authority: Option<&str>) -> io::Result<Self> {
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        let connection =
            ClientConnection::new(Arc::new(config(authority)?), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, connect(address)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    /// When the certificate that was presented ends, in seconds since 1970.
    pub(super) fn not_after(&self) -> Option<i64> {
        let certificate = self.0.conn.peer_certificates()?.first()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    }

    pub(super) fn get(mut self, target: &Target) -> io::Result<Got> {
        get(&mut self.0, target)
    }
}

/// GETs a target in clear.
pub(super) fn plain(target: &Target, address: SocketAddr) -> io::Result<Got> {
    get(&mut connect(address)?, target)
}

fn config(authority: Option<&str>) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let Some(pem) = authority else {
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(io::Error::other)?;
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(builder.with_webpki_verifier(verifier.map_err(io::Error::other)?).with_no_client_auth())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn get(stream: &mut (impl Read + Write), target: &Target) -> io::Result<Got> {
    let Target { host, port, is_tls, path } = target;
    let usual = if *is_tls { 443 } else { 80 };
    let host = if *port == usual { host.clone() } else { format!("{host}:{port}") };
    let version = env!("CARGO_PKG_VERSION");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kubectl-adit/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )?;
    stream.flush()?;
    let (mut head, mut some) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < MOST {
        match stream.read(&mut some)? {
            0 => break,
            count => head.extend_from_slice(&some[..count]),
        }
    }
    understood(&String::from_utf8_lossy(&head))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn understood(answer: &str) -> Option<Got> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let code = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("adit-error").then(|| value.trim().to_owned())
    });
    Some(Got { status, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_relay_s_own_is_told_from_a_service_s() {
        let relays = understood("HTTP/1.1 503 Service Unavailable\r\nAdit-Error: tunnel_offline\r\n\r\n");
        assert_eq!(relays, Some(Got { status: 503, code: Some("tunnel_offline".to_owned()) }));
        assert_eq!(
            understood("HTTP/1.1 200 OK\r\n\r\nadit-error: no"),
            Some(Got { status: 200, code: None })
        );
        assert_eq!(understood("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(understood("HTTP/1.1 200 OK\r\n"), None, "it broke off");
    }
}
