//! Certificates from PEM files.

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::{path::Path, path::PathBuf, sync::Arc};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

/// A certificate that can be served.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// The DNS names in it, in lower case; wildcards as `*.example.com`.
    pub(crate) names: Vec<String>,
    /// When it ends, in seconds since 1970 (UTC).
    pub(crate) not_after: u64,
    /// The chain and its key.
    pub(crate) key: Arc<CertifiedKey>,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read as PEM of the kind that is needed.
    #[error("{path}: cannot read a {what}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kind of content that was expected.
        what: &'static str,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
    /// The chain is empty.
    #[error("the chain has no certificate")]
    Empty,
    /// The first certificate is not valid X.509.
    #[error("the first certificate is not valid X.509")]
    Malformed,
    /// The certificate has no DNS name.
    #[error("the certificate has no DNS name in its subjectAltName")]
    NoDnsName,
    /// The private key is of a kind that cannot sign TLS handshakes, or is another certificate's.
    #[error("the private key does not fit the certificate")]
    Key(#[source] rustls::Error),
}

impl Certificate {
    /// Reads a chain, leaf first, and its private key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub(crate) fn read(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path, what, source| CertificateError::Read { path: path.to_owned(), what, source };
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|source| read(chain, "certificate chain", source))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|source| read(key, "private key", source))?;
        Self::new(certificates, &key)
    }

    /// Checks that chain and key fit together.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(leaf)
            .map_err(|_| CertificateError::Malformed)?;
        let names = dns_names(&parsed);
        if names.is_empty() {
            return Err(CertificateError::NoDnsName);
        }
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let signer = any_supported_type(key).map_err(CertificateError::Key)?;
        let certified = CertifiedKey::new(chain, signer);
        certified.keys_match().map_err(CertificateError::Key)?;
        Ok(Self { names, not_after, key: Arc::new(certified) })
    }
}

fn dns_names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return vec![] };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(dns).collect()
}
