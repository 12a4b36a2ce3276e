//! The files that a configuration names.

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as CertificateError, PemObject},
    },
    sign::CertifiedKey,
};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The most bytes of a PEM file that are read.
const MAX_BYTES: u64 = 1 << 20;

/// A certificate and its key that cannot be used. It reads as what follows the name of the file that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The certificate's file cannot be read.
    #[error("cannot be read: {0}")]
    Cert(io::Error),
    /// The key's file cannot be read.
    #[error("cannot be read: {0}")]
    Key(io::Error),
    /// The certificate's file has no certificate, or one that is not X.509.
    #[error("has no certificate in PEM form that can be read")]
    NoCertificate,
    /// The certificate's file is DER.
    #[error("is not PEM; convert it with openssl x509 -inform der")]
    DerCertificate,
    /// The key's file is DER.
    #[error("is not PEM; convert it with openssl pkey -inform der")]
    DerKey,
    /// The key's file has no private key, or one of a kind that is not known.
    #[error("has no private key in PEM form that can be read")]
    NoKey,
    /// The key is not the certificate's.
    #[error("is not the key of the certificate")]
    Mismatch,
}

/// Reads a certificate chain, one certificate or more.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let pem = read(path).map_err(PairError::Cert)?;
    if is_der(&pem) {
        return Err(PairError::DerCertificate);
    }
    let chain: Result<Vec<_>, CertificateError> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|_| PairError::NoCertificate)?;
    let readable = |der: &CertificateDer<'_>| x509_parser::parse_x509_certificate(der).is_ok();
    if chain.is_empty() || !chain.iter().all(readable) {
        return Err(PairError::NoCertificate);
    }
    Ok(chain)
}

/// Reads a private key.
///
/// # Errors
/// The file cannot be read, or has no private key.
pub(super) fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, PairError> {
    let pem = read(path).map_err(PairError::Key)?;
    if is_der(&pem) {
        return Err(PairError::DerKey);
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| PairError::NoKey)
}

/// Reads a certificate chain and its private key, and compares their public keys.
///
/// # Errors
/// One of the files cannot be read or does not hold what it should, or they do not belong together.
pub fn load_pair(cert: &Path, key: &Path) -> Result<CertifiedKey, PairError> {
    let chain = load_certificates(cert)?;
    let key = load_key(key)?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => PairError::Mismatch,
        rustls::Error::InvalidCertificate(_) => PairError::NoCertificate,
        _ => PairError::NoKey,
    })
}

/// Whether a file is DER: it begins with a SEQUENCE, as certificates and private keys do, and is no text.
fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && bytes.contains(&0)
}

/// Reads a file of bounded length.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {MAX_BYTES} bytes"),
        ));
    }
    Ok(bytes)
}

/// Opens a regular file: a pipe or device would block or never end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    File::open(path)
}
