//! TLS to relays and to services: the provider of cryptography, and the authorities that are trusted.

use rustls::{
    client::danger::ServerCertVerifier,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{io, path::Path, sync::Arc};

/// The process's provider of cryptography; aws-lc-rs unless the program has installed another one.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// Why the file holds none, in words that follow its name.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        // A DER certificate is an ASN.1 SEQUENCE (X.690 section 8.9).
        _ if bytes.first() == Some(&0x30) => {
            Err("is not PEM; convert it with: openssl x509 -inform der -in FILE".into())
        }
        Ok(_) => Err("holds no certificate".into()),
        Err(_) => Err("is not PEM".into()),
    }
}

/// A verifier that trusts the system's authorities, and these as well.
pub(crate) fn system_verifier(
    extra: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider())?;
    Ok(Arc::new(verifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_says_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let reason = |content: &[u8]| {
            let path = folder.path().join("ca");
            std::fs::write(&path, content).unwrap();
            read_certificates(&path).unwrap_err()
        };
        assert!(reason(&[0x30, 0x82, 1, 2]).contains("openssl x509 -inform der"));
        assert_eq!(reason(b"text"), "holds no certificate");
        assert_eq!(read_certificates(&folder.path().join("none")).unwrap_err(), "does not exist");
        let certificate = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert;
        assert_eq!(reason(certificate.der()).split(';').next(), Some("is not PEM"));
    }
}
