//! X.509 chains: reads them, checks them against a key and names, and makes self-signed ones.

use adit_store::StoredCertificate;
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use time::{Duration, OffsetDateTime};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

/// The maximum number of certificates in a chain.
const MAX_CHAIN: usize = 10;
/// The lifetime of a self-signed certificate in days.
const SELF_SIGNED_DAYS: i64 = 90;
/// The time by which a certificate's start is before now, for clocks that are behind.
const BACKDATED: Duration = Duration::hours(1);

/// The algorithm of a private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA with the curve P-256.
    #[default]
    EcdsaP256,
    /// ECDSA with the curve P-384.
    EcdsaP384,
    /// RSA with 2048 bits.
    Rsa2048,
}

impl KeyAlgorithm {
    /// A new private key.
    ///
    /// # Errors
    /// When the crypto provider cannot make one.
    pub fn generate(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048),
        }
    }
}

/// The fields of a chain's first certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The DNS names, in lower case.
    pub names: Vec<String>,
    /// The start of its validity in seconds since 1970.
    pub not_before: u64,
    /// The end of its validity in seconds since 1970.
    pub not_after: u64,
    /// The SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// The distinguished name of its issuer.
    pub issuer: String,
}

/// A certificate that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCertificate {
    /// The chain is empty, too long, or no PEM.
    #[error("the chain is not 1 to {MAX_CHAIN} certificates (PEM)")]
    Chain,
    /// The first certificate is not valid X.509.
    #[error("the first certificate is not valid X.509")]
    Malformed,
    /// A certificate of the chain is not the issuer of the one before it.
    #[error("certificate {0} of the chain did not issue the one before it")]
    Order(usize),
    /// The key cannot be read.
    #[error("the private key cannot be read: it must be unencrypted PEM")]
    Key,
    /// The key is another certificate's, or cannot sign handshakes.
    #[error("the private key does not match the certificate")]
    Mismatch,
    /// It lacks a required name.
    #[error("the certificate is for {}, not for {missing:?}", has.join(", "))]
    Names {
        /// The name.
        missing: String,
        /// The names that it has.
        has: Vec<String>,
    },
    /// Its validity has ended.
    #[error("the certificate expired at {0}")]
    Expired(String),
    /// Its validity has not begun.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(String),
}

/// The certificates of a chain.
///
/// # Errors
/// [`InvalidCertificate::Chain`].
pub fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, InvalidCertificate> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.ok().filter(|chain| (1..=MAX_CHAIN).contains(&chain.len())).ok_or(InvalidCertificate::Chain)
}

/// Reads the first certificate of a chain (PEM).
///
/// # Errors
/// [`InvalidCertificate`].
pub fn facts(pem: &str) -> Result<Facts, InvalidCertificate> {
    let chain = chain(pem)?;
    let leaf = &chain[0];
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(leaf)
        .map_err(|_| InvalidCertificate::Malformed)?;
    let time = |at: x509_parser::time::ASN1Time| u64::try_from(at.timestamp()).unwrap_or(0);
    let names = parsed.subject_alternative_name().ok().flatten().map_or(Vec::new(), |extension| {
        let dns = extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        dns.collect()
    });
    Ok(Facts {
        names,
        not_before: time(parsed.validity().not_before),
        not_after: time(parsed.validity().not_after),
        fingerprint: hex(digest(&SHA256, leaf).as_ref()),
        serial: hex(parsed.raw_serial()),
        issuer: parsed.issuer().to_string(),
    })
}

/// Checks that a chain (PEM) matches its key (PEM), has all names, and is valid at `now` (seconds since 1970). A wildcard
/// counts for the names directly below it.
///
/// # Errors
/// [`InvalidCertificate`].
pub fn check(pem: &str, key: &str, names: &[String], now: u64) -> Result<Facts, InvalidCertificate> {
    let facts = facts(pem)?;
    let certificates = chain(pem)?;
    check_order(&certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| InvalidCertificate::Key)?;
    let signer = any_supported_type(&key).map_err(|_| InvalidCertificate::Key)?;
    CertifiedKey::new(certificates, signer).keys_match().map_err(|_| InvalidCertificate::Mismatch)?;
    let has = |name: &str| {
        let parent = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        facts.names.iter().any(|own| own == name || Some(own) == parent.as_ref())
    };
    if let Some(missing) = names.iter().find(|name| !has(name)) {
        return Err(InvalidCertificate::Names { missing: missing.clone(), has: facts.names });
    }
    if facts.not_after <= now {
        return Err(InvalidCertificate::Expired(rfc3339(facts.not_after)));
    }
    if facts.not_before > now {
        return Err(InvalidCertificate::NotYetValid(rfc3339(facts.not_before)));
    }
    Ok(facts)
}

/// Checks that each certificate of a chain is followed by its issuer (RFC 5246 section 7.4.2).
fn check_order(chain: &[CertificateDer<'_>]) -> Result<(), InvalidCertificate> {
    for (index, pair) in chain.windows(2).enumerate() {
        let parse = |one| x509_parser::parse_x509_certificate(one).map(|(_, parsed)| parsed);
        let (lower, upper) = (parse(&pair[0]), parse(&pair[1]));
        let (Ok(lower), Ok(upper)) = (lower, upper) else { return Err(InvalidCertificate::Order(index + 2)) };
        if lower.issuer().as_raw() != upper.subject().as_raw() {
            return Err(InvalidCertificate::Order(index + 2));
        }
    }
    Ok(())
}

/// A self-signed certificate and its key (both PEM).
///
/// # Errors
/// When the crypto provider cannot make one.
pub fn self_signed(
    names: &[String],
    algorithm: KeyAlgorithm,
    now: OffsetDateTime,
) -> Result<(String, String), rcgen::Error> {
    let key = algorithm.generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "Adit self-signed");
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::days(SELF_SIGNED_DAYS);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// The row of a certificate.
pub(crate) fn row(
    id: &str,
    (names, regions): (&[String], &[String]),
    chain: String,
    facts: &Facts,
    made_for: String,
    now: u64,
) -> StoredCertificate {
    StoredCertificate {
        id: id.to_owned(),
        names: names.to_vec(),
        regions: regions.to_vec(),
        chain,
        fingerprint: facts.fingerprint.clone(),
        not_before: facts.not_before,
        not_after: facts.not_after,
        revision: 0,
        issued_at: now,
        made_for,
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970 as RFC 3339 writes them.
pub fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let text = time.and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_else(|| format!("{seconds} s after 1970"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertifiedIssuer, IsCa};

    fn names(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_certificate_fits_its_key_its_names_and_its_time() {
        let now = OffsetDateTime::now_utc();
        let at = u64::try_from(now.unix_timestamp()).unwrap();
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Rsa2048] {
            let (chain, key) = self_signed(&names(&["a.example", "*.b.example"]), algorithm, now).unwrap();
            let facts =
                check(&chain, &key, &names(&["a.example", "*.b.example", "x.b.example"]), at).unwrap();
            assert_eq!(facts.names, names(&["a.example", "*.b.example"]));
            assert_eq!(facts.fingerprint.len(), 64);
            let (_, other) = self_signed(&names(&["a.example"]), algorithm, now).unwrap();
            assert!(matches!(check(&chain, &other, &[], at), Err(InvalidCertificate::Mismatch)));
            for missing in ["b.example", "x.y.b.example", "c.example"] {
                assert!(matches!(
                    check(&chain, &key, &names(&[missing]), at),
                    Err(InvalidCertificate::Names { .. })
                ));
            }
            assert!(matches!(check(&chain, &key, &[], facts.not_after), Err(InvalidCertificate::Expired(_))));
            assert!(matches!(
                check(&chain, &key, &[], facts.not_before - 1),
                Err(InvalidCertificate::NotYetValid(_))
            ));
        }
    }

    #[test]
    fn each_certificate_of_a_chain_is_followed_by_its_issuer() {
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap();
        let ca = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (own, stranger) = (ca("own"), ca("stranger"));
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(names(&["a.example"])).unwrap().signed_by(&key, &own).unwrap().pem();
        let key = key.serialize_pem();
        let check = |chain: &str| check(chain, &key, &[], now);
        check(&leaf).unwrap();
        check(&format!("{leaf}{}", own.pem())).unwrap();
        assert!(matches!(check(&format!("{leaf}{}", stranger.pem())), Err(InvalidCertificate::Order(2))));
        let longer = format!("{leaf}{}{}", own.pem(), stranger.pem());
        assert!(matches!(check(&longer), Err(InvalidCertificate::Order(3))));
    }

    #[test]
    fn what_is_no_certificate_or_key_is_refused() {
        let now = OffsetDateTime::now_utc();
        let (chain, key) = self_signed(&names(&["a.example"]), KeyAlgorithm::EcdsaP256, now).unwrap();
        assert!(matches!(check("", &key, &[], 1), Err(InvalidCertificate::Chain)));
        assert!(matches!(check(&chain.repeat(11), &key, &[], 1), Err(InvalidCertificate::Chain)));
        assert!(matches!(check(&chain, &chain, &[], 1), Err(InvalidCertificate::Key)));
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(check(odd, &key, &[], 1), Err(InvalidCertificate::Malformed)));
    }
}
