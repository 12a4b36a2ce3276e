//! The development CA: what a relay serves while it has no certificate from anyone that consumers trust.

use super::pem::{Certificate, CertificateError};
use adit_system::private_file;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use time::{Duration, OffsetDateTime};

/// The name that the CA's certificate has, and that a client's error message looks for.
pub(crate) const CA_NAME: &str = "Adit development CA";

const CA_VALIDITY_DAYS: i64 = 3650;
const LEAF_VALIDITY_DAYS: i64 = 90;
/// A certificate starts earlier than now, for clocks that are behind.
const BACKDATE: Duration = Duration::hours(1);

/// Why the development CA cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A file cannot be read or written.
    #[error("{path}: cannot {verb} the development CA")]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        verb: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// The certificate that was made cannot be served.
    #[error("cannot serve the development certificate")]
    Serve(#[from] CertificateError),
}

/// The development CA: its certificate and key.
pub(crate) struct DevelopmentCa {
    issuer: Issuer<'static, KeyPair>,
    path: PathBuf,
}

impl DevelopmentCa {
    /// The CA in a folder: `ca.pem` and `ca.key`, made when they are not there.
    ///
    /// # Errors
    /// [`DevelopmentError`].
    pub(crate) fn load_or_create(folder: &Path) -> Result<Self, DevelopmentError> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| DevelopmentError::File {
                path: path.to_owned(),
                verb: "read",
                source,
            })
        };
        if !key.exists() || !certificate.exists() {
            create(&certificate, &key)?;
        }
        let issuer = Issuer::from_ca_cert_pem(&read(&certificate)?, KeyPair::from_pem(&read(&key)?)?)?;
        Ok(Self { issuer, path: certificate })
    }

    /// Where the CA's certificate is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A fresh certificate for a domain and all names directly below it.
    ///
    /// # Errors
    /// [`DevelopmentError`].
    pub(crate) fn issue(&self, domain: &str, now: OffsetDateTime) -> Result<Certificate, DevelopmentError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![domain.to_owned(), format!("*.{domain}")])?;
        params.distinguished_name.push(DnType::CommonName, domain);
        params.not_before = now - BACKDATE;
        params.not_after = now + Duration::days(LEAF_VALIDITY_DAYS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(Certificate::new(vec![certificate.der().clone()], &key)?)
    }
}

fn create(certificate: &Path, key: &Path) -> Result<(), DevelopmentError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATE;
    params.not_after = now + Duration::days(CA_VALIDITY_DAYS);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let error = |path: &Path| {
        let path = path.to_owned();
        |source| DevelopmentError::File { path, verb: "write", source }
    };
    private_file::replace(key, ca.key().serialize_pem().as_bytes()).map_err(error(key))?;
    fs::write(certificate, ca.pem()).map_err(error(certificate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_ca_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let ca = DevelopmentCa::load_or_create(folder.path()).unwrap();
        let made = fs::read(ca.path()).unwrap();
        let again = DevelopmentCa::load_or_create(folder.path()).unwrap();
        assert_eq!(made, fs::read(again.path()).unwrap());
        let mode = fs::metadata(folder.path().join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let certificate = again.issue("adit.localhost", OffsetDateTime::now_utc()).unwrap();
        assert_eq!(certificate.names, ["adit.localhost", "*.adit.localhost"]);
    }
}
