//! The certificate authorities of a region: one for links between relays, one for the development certificate.
//!
//! A CA is rolled with overlap, so that no relay refuses another at any time: first all relays trust the old and the new
//! CA, then the new CA signs, then the old CA is dropped. Each step waits until every relay has confirmed the one before.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Validity of a CA.
const CA_LIFETIME: Duration = Duration::days(3650);
/// Remaining validity at which a CA is rolled.
const CA_OVERLAP: Duration = Duration::days(365);
/// Validity of a certificate.
const LEAF_LIFETIME: Duration = Duration::days(90);
/// Remaining validity at which a certificate is renewed.
pub(super) const LEAF_RENEWAL: Duration = Duration::days(30);
/// How far before now a validity begins, because clocks differ.
const BACKDATING: Duration = Duration::hours(1);

/// A certificate that could not be issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    /// The crypto library refused a certificate or key.
    #[error("cannot issue or read a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// A certificate and its private key, both in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CertificateAndKey {
    /// The certificate.
    pub(super) cert: String,
    /// The key.
    pub(super) key: String,
}

impl std::fmt::Debug for CertificateAndKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAndKey").finish_non_exhaustive()
    }
}

impl CertificateAndKey {
    /// A new CA.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub(super) fn authority(name: &str, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - BACKDATING;
        params.not_after = now + CA_LIFETIME;
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { cert: ca.pem(), key: ca.key().serialize_pem() })
    }

    /// A new certificate for servers and clients, signed by this CA.
    ///
    /// # Errors
    /// [`AuthorityError`], also if this is not a valid CA certificate.
    pub(super) fn issue(&self, names: &[String], now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let issuer = Issuer::from_ca_cert_pem(&self.cert, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, first.clone());
        }
        params.not_before = now - BACKDATING;
        params.not_after = now + LEAF_LIFETIME;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { cert: certificate.pem(), key: key.serialize_pem() })
    }
}

/// When the first certificate of a PEM text expires; `None` if there is none.
pub(super) fn not_after(pem: &str) -> Option<OffsetDateTime> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    OffsetDateTime::from_unix_timestamp(certificate.validity().not_after.timestamp()).ok()
}

/// A CA, and its successor or predecessor while it is rolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RollingAuthority {
    /// The CA that signs.
    pub(super) current: CertificateAndKey,
    /// The CA that will sign once every relay trusts it.
    pub(super) next: Option<CertificateAndKey>,
    /// The certificate of the CA before; trusted until every relay has a certificate of `current`.
    pub(super) previous: Option<String>,
    /// The last request that was followed.
    pub(super) rolled_for: Option<String>,
}

impl RollingAuthority {
    /// A CA that is not being rolled.
    pub(super) fn new(current: CertificateAndKey) -> Self {
        Self { current, next: None, previous: None, rolled_for: None }
    }

    /// All trusted CA certificates, in PEM.
    pub(super) fn trusted(&self) -> String {
        let next = self.next.as_ref().map(|pair| pair.cert.as_str());
        let all = [self.previous.as_deref(), Some(self.current.cert.as_str()), next];
        all.into_iter().flatten().collect()
    }

    /// The next step; `None` if there is nothing to do. `is_confirmed` says whether every relay has confirmed the step
    /// before; `requested` is a person's request, which is followed once.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub(super) fn step(
        &self,
        name: &str,
        now: OffsetDateTime,
        is_confirmed: bool,
        requested: Option<&str>,
    ) -> Result<Option<Self>, AuthorityError> {
        if let Some(next) = self.next.clone() {
            let promoted = || Self {
                current: next,
                next: None,
                previous: Some(self.current.cert.clone()),
                ..self.clone()
            };
            return Ok(is_confirmed.then(promoted));
        }
        if self.previous.is_some() {
            return Ok(is_confirmed.then(|| Self { previous: None, ..self.clone() }));
        }
        let is_old = not_after(&self.current.cert).is_none_or(|end| end - now < CA_OVERLAP);
        let is_requested = requested.is_some() && requested != self.rolled_for.as_deref();
        if !is_old && !is_requested {
            return Ok(None);
        }
        let next = CertificateAndKey::authority(name, now)?;
        let rolled_for = requested.map(str::to_owned).or_else(|| self.rolled_for.clone());
        Ok(Some(Self { next: Some(next), rolled_for, ..self.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    #[test]
    fn certificates_expire_when_they_should() {
        let ca = CertificateAndKey::authority("Adit", now()).unwrap();
        assert_eq!(not_after(&ca.cert), Some(now() + CA_LIFETIME));
        let leaf = ca.issue(&["peer.eu.example.com".to_owned()], now()).unwrap();
        assert_eq!(not_after(&leaf.cert), Some(now() + LEAF_LIFETIME));
        assert_eq!(not_after("nothing"), None);
        assert!(!format!("{leaf:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_young_authority_stays() {
        let rolling = RollingAuthority::new(CertificateAndKey::authority("Adit", now()).unwrap());
        assert_eq!(rolling.step("Adit", now() + Duration::days(2000), true, None).unwrap(), None);
        assert_eq!(rolling.trusted(), rolling.current.cert);
    }

    #[test]
    fn rolling_waits_for_every_relay_at_each_step() {
        let first = RollingAuthority::new(CertificateAndKey::authority("Adit", now()).unwrap());
        let late = now() + CA_LIFETIME - CA_OVERLAP + Duration::days(1);
        let both = first.step("Adit", late, false, None).unwrap().unwrap();
        assert_eq!(both.current, first.current, "the old one signs until all trust the new one");
        assert!(both.trusted().contains(&first.current.cert) && both.trusted() != first.trusted());
        assert_eq!(both.step("Adit", late, false, None).unwrap(), None, "it waits");
        let signed = both.step("Adit", late, true, None).unwrap().unwrap();
        assert_eq!(Some(&signed.current), both.next.as_ref());
        assert!(signed.trusted().contains(&first.current.cert), "certificates of the old one are in use");
        assert_eq!(signed.step("Adit", late, false, None).unwrap(), None, "it waits");
        let last = signed.step("Adit", late, true, None).unwrap().unwrap();
        assert_eq!(last.trusted(), last.current.cert);
        assert_eq!(last.step("Adit", late, true, None).unwrap(), None);
    }

    #[test]
    fn a_request_is_followed_once() {
        let first = RollingAuthority::new(CertificateAndKey::authority("Adit", now()).unwrap());
        let both = first.step("Adit", now(), true, Some("1")).unwrap().unwrap();
        let done = both.step("Adit", now(), true, Some("1")).unwrap().unwrap();
        let done = done.step("Adit", now(), true, Some("1")).unwrap().unwrap();
        assert_eq!(done.step("Adit", now(), true, Some("1")).unwrap(), None);
        assert!(done.step("Adit", now(), true, Some("2")).unwrap().is_some());
    }
}
