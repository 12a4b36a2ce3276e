//! Certificate authorities of a region: one for links between relays, one for development certificates.
//!
//! A CA is rolled with overlap, so that at no moment one relay refuses another: first all trust the old and the new one,
//! then the new one signs, then the old one is dropped. Each step waits until every relay has confirmed the one before.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// How long a CA lives.
pub const CA_LIFE: Duration = Duration::days(3650);
/// How long before its end a CA is rolled.
pub const CA_OVERLAP: Duration = Duration::days(365);
/// How long a certificate lives.
pub const LEAF_LIFE: Duration = Duration::days(90);
/// How long before its end a certificate is renewed.
pub const LEAF_RENEWAL: Duration = Duration::days(30);
/// Clocks differ: certificates are valid from a while ago.
const BACKDATED: Duration = Duration::hours(1);

/// Text that is not what the operator wrote.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate or key that cannot be read or made.
    #[error("cannot make or read a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// A certificate and its private key, both in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    /// A new CA.
    ///
    /// # Errors
    /// What the crypto library reports.
    pub fn authority(name: &str, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - BACKDATED;
        params.not_after = now + CA_LIFE;
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { cert: ca.pem(), key: ca.key().serialize_pem() })
    }

    /// A new certificate that this CA signs, for servers and clients.
    ///
    /// # Errors
    /// The CA is none, or what the crypto library reports.
    pub fn issue(&self, names: &[String], now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let issuer = Issuer::from_ca_cert_pem(&self.cert, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, first.clone());
        }
        params.not_before = now - BACKDATED;
        params.not_after = now + LEAF_LIFE;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { cert: certificate.pem(), key: key.serialize_pem() })
    }
}

/// When the first certificate of a PEM text ends; nothing if it has none.
pub fn not_after(pem: &str) -> Option<OffsetDateTime> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    OffsetDateTime::from_unix_timestamp(certificate.validity().not_after.timestamp()).ok()
}

/// A CA that may be on its way to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// What signs.
    pub current: Pair,
    /// What will sign once every relay trusts it.
    pub next: Option<Pair>,
    /// A certificate that is still trusted, until every relay has one of `current`.
    pub previous: Option<String>,
    /// The last request to roll it that was followed.
    pub rolled_for: Option<String>,
}

impl Rolling {
    /// A CA that is not on its way.
    pub fn new(current: Pair) -> Self {
        Self { current, next: None, previous: None, rolled_for: None }
    }

    /// All that is trusted, in PEM.
    pub fn trusted(&self) -> String {
        let next = self.next.as_ref().map(|pair| pair.cert.as_str());
        let all = [self.previous.as_deref(), Some(self.current.cert.as_str()), next];
        all.into_iter().flatten().collect()
    }

    /// The next step, if there is one: `confirmed` says whether every relay uses what was decided before, and `asked` is
    /// a person's request, which is followed once.
    ///
    /// # Errors
    /// What the crypto library reports.
    pub fn step(
        &self,
        name: &str,
        now: OffsetDateTime,
        confirmed: bool,
        asked: Option<&str>,
    ) -> Result<Option<Self>, AuthorityError> {
        if let Some(next) = self.next.clone() {
            let promoted = || Self {
                current: next,
                next: None,
                previous: Some(self.current.cert.clone()),
                ..self.clone()
            };
            return Ok(confirmed.then(promoted));
        }
        if self.previous.is_some() {
            return Ok(confirmed.then(|| Self { previous: None, ..self.clone() }));
        }
        let old = not_after(&self.current.cert).is_none_or(|end| end - now < CA_OVERLAP);
        let wanted = asked.is_some() && asked != self.rolled_for.as_deref();
        if !old && !wanted {
            return Ok(None);
        }
        let next = Pair::authority(name, now)?;
        let rolled_for = asked.map(str::to_owned).or_else(|| self.rolled_for.clone());
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
    fn a_certificate_ends_when_it_should() {
        let ca = Pair::authority("Adit", now()).unwrap();
        assert_eq!(not_after(&ca.cert), Some(now() + CA_LIFE));
        let leaf = ca.issue(&["peer.eu.example.com".to_owned()], now()).unwrap();
        assert_eq!(not_after(&leaf.cert), Some(now() + LEAF_LIFE));
        assert_eq!(not_after("nothing"), None);
        assert!(!format!("{leaf:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_young_authority_stays() {
        let rolling = Rolling::new(Pair::authority("Adit", now()).unwrap());
        assert_eq!(rolling.step("Adit", now() + Duration::days(2000), true, None).unwrap(), None);
        assert_eq!(rolling.trusted(), rolling.current.cert);
    }

    #[test]
    fn rolling_waits_for_every_relay_and_never_drops_what_is_in_use() {
        let first = Rolling::new(Pair::authority("Adit", now()).unwrap());
        let late = now() + CA_LIFE - CA_OVERLAP + Duration::days(1);
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
        let first = Rolling::new(Pair::authority("Adit", now()).unwrap());
        let both = first.step("Adit", now(), true, Some("1")).unwrap().unwrap();
        let done = both.step("Adit", now(), true, Some("1")).unwrap().unwrap();
        let done = done.step("Adit", now(), true, Some("1")).unwrap().unwrap();
        assert_eq!(done.step("Adit", now(), true, Some("1")).unwrap(), None);
        assert!(done.step("Adit", now(), true, Some("2")).unwrap().is_some());
    }
}
