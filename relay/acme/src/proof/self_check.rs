//! Checks one answer as a CA does.

use super::challenge::Challenge;
use adit_store::ChallengeKind;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// The maximum time of one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The ALPN name with which CAs check (RFC 8737 section 3).
const ALPN: &[u8] = b"acme-tls/1";
/// The OID of the extension with the answer, 1.3.6.1.5.5.7.1.31, as it is written in a certificate.
const ACME_IDENTIFIER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f];
/// Before the 32 bytes of the answer: an OCTET STRING of them.
const OCTETS: [u8; 2] = [0x04, 0x20];

/// The answer that a self-check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// The expected answer.
    Expected,
    /// Another answer; the text describes it.
    Unexpected(String),
    /// No answer. In many networks a host cannot reach its own public address.
    Unreachable,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Checks the answer of an address to a challenge.
pub(super) async fn self_check(
    kind: ChallengeKind,
    address: SocketAddr,
    challenge: &Challenge,
) -> Observation {
    let seen = timeout(CHECK_TIMEOUT, async {
        match kind {
            ChallengeKind::Http01 => http(address, challenge).await,
            ChallengeKind::TlsAlpn01 => tls(address, challenge).await,
        }
    });
    seen.await.ok().and_then(Result::ok).unwrap_or(Observation::Unreachable)
}

async fn http(address: SocketAddr, challenge: &Challenge) -> Result<Observation, AnyError> {
    let tcp = TcpStream::connect(address).await?;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get(format!("/.well-known/acme-challenge/{}", challenge.token))
        .header(http::header::HOST, &challenge.name)
        .header(http::header::CONNECTION, "close")
        .body(Full::<Bytes>::default())?;
    let answered = async {
        let response = send.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), 4096).collect().await?.to_bytes();
        Ok((status, body))
    }
    .await;
    driver.abort();
    answered.map(|(status, body)| {
        if status == 200 && body.trim_ascii() == challenge.answer.as_bytes() {
            Observation::Expected
        } else {
            Observation::Unexpected(format!(
                "http://{address} answers its challenge with {status} and not with the key authorization"
            ))
        }
    })
}

async fn tls(address: SocketAddr, challenge: &Challenge) -> Result<Observation, AnyError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(challenge.name.clone())?;
    let stream = match TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
        Ok(stream) => stream,
        Err(error) => {
            let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let refused =
                refused.map(|error| format!("{address} refuses a handshake for acme-tls/1: {error}"));
            return refused.map(Observation::Unexpected).ok_or_else(|| error.into());
        }
    };
    let (_, connection) = stream.get_ref();
    let is_meant = connection.alpn_protocol() == Some(ALPN);
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    Ok(if is_meant && leaf.is_some_and(|leaf| proves(leaf, &challenge.answer)) {
        Observation::Expected
    } else {
        Observation::Unexpected(format!(
            "{address} answers acme-tls/1 with another certificate than that of the proof"
        ))
    })
}

/// Whether a certificate has this answer in it (RFC 8737 section 3).
fn proves(certificate: &[u8], answer: &str) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let digest = digest(&SHA256, answer.as_bytes());
    let is_it = |value: &[u8]| value.strip_prefix(&OCTETS) == Some(digest.as_ref());
    certificate.extensions().iter().any(|one| one.oid.as_bytes() == ACME_IDENTIFIER && is_it(one.value))
}

/// Takes any certificate. Its critical extension keeps rustls from looking into it, even at its key: what counts is the
/// answer in it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CustomExtension, KeyPair};
    use rustls::{
        ServerConfig,
        crypto::aws_lc_rs::sign::any_supported_type,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        sign::{CertifiedKey, SingleCertAndKey},
    };
    use tokio::{io::AsyncReadExt, net::TcpListener};

    fn challenge(answer: &str) -> Challenge {
        let (name, token) = ("a.example".to_owned(), "token".to_owned());
        Challenge { name, token, answer: answer.to_owned(), text: String::new() }
    }

    /// A server that proves a name with this answer.
    async fn server(answer: &str, alpn: &[u8]) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let digest = digest(&SHA256, answer.as_bytes());
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    let _ = tls.read(&mut [0; 1]).await;
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn the_answer_is_told_from_another_one_and_from_nobody() {
        let check = async |address| self_check(ChallengeKind::TlsAlpn01, address, &challenge("right")).await;
        assert_eq!(check(server("right", ALPN).await).await, Observation::Expected);
        let other = check(server("wrong", ALPN).await).await;
        assert!(
            matches!(&other, Observation::Unexpected(words) if words.contains("another certificate")),
            "{other:?}"
        );
        let refused = check(server("right", b"h2").await).await;
        assert!(
            matches!(&refused, Observation::Unexpected(words) if words.contains("refuses")),
            "{refused:?}"
        );
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(check(closed).await, Observation::Unreachable);
    }
}
