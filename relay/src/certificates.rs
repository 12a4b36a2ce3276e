//! Certificates and the TLS side of the public listeners.

pub(crate) mod challenges;
pub(crate) mod development;
pub(crate) mod issuer;
pub(crate) mod pem;
pub(crate) mod served;

use crate::config::CertificateFiles;
use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{collections::HashMap, sync::Arc};

/// The certificates that a relay serves, by the names in them. They are replaced while connections run. Those of the
/// store go before those of files, or of the development CA, which stand in until a better one is there.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    stored: ArcSwap<ByName>,
    by_name: ArcSwap<ByName>,
}

type ByName = HashMap<String, NamedKey>;

/// A certificate under one of its names.
#[derive(Debug)]
struct NamedKey {
    key: Arc<CertifiedKey>,
    /// Seconds since 1970 (UTC).
    not_after: u64,
}

fn by_name<'a>(certificates: impl IntoIterator<Item = &'a pem::Certificate>) -> Arc<ByName> {
    let mut by_name = HashMap::new();
    for certificate in certificates {
        for name in &certificate.names {
            let named = || NamedKey { key: certificate.key.clone(), not_after: certificate.not_after };
            by_name.entry(name.clone()).or_insert_with(named);
        }
    }
    Arc::new(by_name)
}

impl Certificates {
    /// Serves these of files, or of the development CA, from now on. Connections that run keep what they have.
    pub(crate) fn replace(&self, certificates: Vec<pem::Certificate>) {
        self.by_name.store(by_name(&certificates));
    }

    /// Serves these of the store from now on, the first of those with the same name.
    pub(crate) fn replace_stored<'a>(&self, certificates: impl IntoIterator<Item = &'a pem::Certificate>) {
        self.stored.store(by_name(certificates));
    }

    /// The certificate for a server name: that very name first, then the wildcard above it (RFC 9525 section 6.3).
    pub(crate) fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.');
        let stored = self.stored.load();
        let found = if stored.is_empty() { None } else { find(&stored, name) };
        found.or_else(|| find(&self.by_name.load(), name))
    }

    /// The names whose certificate has expired, in order. A name of a file that the store serves too is not one.
    fn expired_names(&self, now: u64) -> Vec<String> {
        let (stored, by_name) = (self.stored.load(), self.by_name.load());
        let others = by_name.iter().filter(|(name, _)| !stored.contains_key(*name));
        let expired = stored.iter().chain(others).filter(|(_, named)| named.not_after <= now);
        let mut names: Vec<String> = expired.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }
}

fn find(by_name: &ByName, name: &str) -> Option<Arc<CertifiedKey>> {
    if let Some(found) = by_name.get(name) {
        return Some(found.key.clone());
    }
    let lower = name.to_ascii_lowercase();
    let (_, parent) = lower.split_once('.')?;
    by_name.get(&lower).or_else(|| by_name.get(&format!("*.{parent}"))).map(|named| named.key.clone())
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()?)
    }
}

/// The TLS configurations of the public port.
#[derive(Clone, Debug)]
pub(crate) struct TlsConfigs {
    /// Consumers: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub(crate) consumers: Arc<ServerConfig>,
    /// Clients: TLS 1.3 and the tunnel's protocol.
    pub(crate) clients: Arc<ServerConfig>,
}

/// Resolves the certificate for clients: the one for the name that a client dials, else that of the region's domain.
///
/// A client with a wrong `--relay` finds another name in the certificate, and says so; without any certificate it would see
/// nothing but a TLS alert.
#[derive(Debug)]
struct ClientCertificates {
    certificates: Arc<Certificates>,
    /// The name that clients of this region dial.
    name: String,
}

impl ResolvesServerCert for ClientCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let dialled = hello.server_name().and_then(|name| self.certificates.find(name));
        dialled.or_else(|| self.certificates.find(&self.name))
    }
}

impl TlsConfigs {
    /// Makes the configurations for a region's domain.
    ///
    /// # Errors
    /// The crypto provider has no source of randomness.
    pub(crate) fn new(certificates: Arc<Certificates>, domain: &str) -> Result<Self, rustls::Error> {
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let mut consumers =
            ServerConfig::builder().with_no_client_auth().with_cert_resolver(certificates.clone());
        consumers.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        consumers.ticketer = ticketer;
        consumers.send_tls13_tickets = 1;
        let mut clients = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ClientCertificates {
                certificates,
                name: format!("connect.{domain}"),
            }));
        clients.alpn_protocols = vec![adit_protocol::ALPN.to_vec()];
        // A client proves itself on each connection by its exporter: there is nothing to resume.
        clients.send_tls13_tickets = 0;
        Ok(Self { consumers: Arc::new(consumers), clients: Arc::new(clients) })
    }
}

/// What a relay serves at its public ports by TLS, and to CAs.
pub(crate) struct CertificateParts {
    /// Finds the certificate for a name.
    pub(crate) resolver: Arc<Certificates>,
    /// The configurations of the public port.
    pub(crate) tls: TlsConfigs,
    /// Answers to CAs.
    pub(crate) challenges: Arc<challenges::Challenges>,
    /// The certificates of the store.
    pub(crate) served: Arc<served::ServedCertificates>,
}

impl CertificateParts {
    /// The problem that `/readyz` shows: a certificate of the store that cannot be served, or one that has expired.
    pub(crate) fn problem(&self, now: u64) -> Option<String> {
        self.served.problem().or_else(|| {
            let expired = self.resolver.expired_names(now);
            (!expired.is_empty()).then(|| format!("expired: {}", expired.join(", ")))
        })
    }
}

/// Reads the certificates of files.
///
/// # Errors
/// [`pem::CertificateError`].
pub(crate) fn read_certificates(
    files: &[CertificateFiles],
) -> Result<Vec<pem::Certificate>, pem::CertificateError> {
    files.iter().map(|files| pem::Certificate::read(&files.cert, &files.key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str], not_after: u64) -> pem::Certificate {
        let pair = rcgen::generate_simple_self_signed(
            names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(),
        )
        .unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        pem::Certificate { not_after, ..pem::Certificate::new(vec![pair.cert.der().clone()], &key).unwrap() }
    }

    #[test]
    fn an_expired_certificate_is_named_unless_the_store_has_another() {
        let certificates = Certificates::default();
        certificates
            .replace(vec![certificate(&["*.a.example", "a.example"], 100), certificate(&["b.example"], 200)]);
        assert_eq!(certificates.expired_names(99), Vec::<String>::new());
        assert_eq!(certificates.expired_names(100), ["*.a.example", "a.example"]);
        certificates.replace_stored([&certificate(&["*.a.example", "a.example"], 300)]);
        assert_eq!(certificates.expired_names(250), ["b.example"]);
    }
}
