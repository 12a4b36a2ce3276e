//! One TLS handshake, to see which certificate a relay serves for a name. No data follows it.

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

/// A PROXY protocol header (v1) without an address.
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// Why a handshake showed no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// No TLS server answered. That says nothing about what the relay serves.
    #[error("no TLS server answers at {0}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// A TLS server answered, and the handshake failed.
    #[error("{0} refused a handshake for {1:?}")]
    Refused(SocketAddr, String, #[source] rustls::Error),
}

/// A configuration that accepts any certificate whose key the server has proven to have.
pub(super) fn client_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    // A resumed handshake shows no certificate.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The SHA-256 of the certificate that `address` serves for a name, in hexadecimal digits. `is_load_balancer` says whether
/// the server expects a PROXY header from this local address.
pub(super) async fn served_fingerprint(
    tls: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
    is_load_balancer: impl Fn(SocketAddr) -> bool,
) -> Result<String, HandshakeError> {
    let unreachable = |error| HandshakeError::Unreachable(address, error);
    let mut tcp = TcpStream::connect(address).await.map_err(unreachable)?;
    if is_load_balancer(tcp.local_addr().map_err(unreachable)?) {
        tcp.write_all(PROXY_HEADER).await.map_err(unreachable)?;
    }
    let server =
        ServerName::try_from(name.to_owned()).map_err(|error| unreachable(io::Error::other(error)))?;
    let failed =
        |error: io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(refused) => HandshakeError::Refused(address, name.to_owned(), refused.clone()),
            None => unreachable(error),
        };
    let mut stream = TlsConnector::from(tls.clone()).connect(server, tcp).await.map_err(failed)?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let digest = leaf.map(|leaf| digest(&SHA256, leaf));
    let fingerprint = digest.map(|digest| digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
    let _ = stream.shutdown().await;
    fingerprint.ok_or_else(|| unreachable(io::Error::other("the server sent no certificate")))
}

/// Accepts any certificate, and verifies that the server has its key.
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
