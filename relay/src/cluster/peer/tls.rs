//! Mutual TLS between relays.

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{path::PathBuf, sync::Arc};

/// The ALPN name of a link.
const ALPN: &[u8] = b"adit-peer/1";

/// Both sides of a relay's links.
#[derive(Clone, Debug)]
pub(crate) struct PeerTls {
    /// For links that this relay opens.
    pub(crate) client: Arc<ClientConfig>,
    /// For links that it takes.
    pub(crate) server: Arc<ServerConfig>,
    /// The name in every relay's certificate.
    pub(crate) name: ServerName<'static>,
}

/// Why a relay's own peer certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerTlsError {
    /// A file cannot be read as PEM.
    #[error("{path}: cannot read a {what}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kind of content that was expected.
        what: &'static str,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
    /// The CA's file has no certificate, or one that cannot be trusted.
    #[error("peer.ca: not a CA that can be trusted")]
    Ca,
    /// Certificate and key do not fit, or cannot be used for TLS.
    #[error("peer.cert, peer.key: cannot be used for TLS")]
    Certificate(#[source] rustls::Error),
    /// The region's domain cannot be part of a DNS name.
    #[error("domain: peer.<domain> is not a DNS name")]
    Name,
}

impl PeerTls {
    /// Reads the CA, the certificate and the key.
    ///
    /// # Errors
    /// [`PeerTlsError`].
    pub(crate) fn read(peer: &crate::config::Peer, domain: &str) -> Result<Self, PeerTlsError> {
        let read = |path: &PathBuf, what, source| PeerTlsError::Read { path: path.clone(), what, source };
        let certificates = |path: &PathBuf| {
            CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|source| read(path, "certificate", source))
        };
        let mut roots = RootCertStore::empty();
        let (trusted, _) = roots.add_parsable_certificates(certificates(&peer.ca)?);
        if trusted == 0 {
            return Err(PeerTlsError::Ca);
        }
        let roots = Arc::new(roots);
        let chain = certificates(&peer.cert)?;
        let key = PrivateKeyDer::from_pem_file(&peer.key)
            .map_err(|source| read(&peer.key, "private key", source))?;
        let mut client = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(PeerTlsError::Certificate)?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        let verifier = WebPkiClientVerifier::builder(roots).build().map_err(|_| PeerTlsError::Ca)?;
        let mut server = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(PeerTlsError::Certificate)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        let name = ServerName::try_from(format!("peer.{domain}")).map_err(|_| PeerTlsError::Name)?;
        Ok(Self { client: Arc::new(client), server: Arc::new(server), name })
    }
}
