//! Public keys in PEM (RFC 7468).

use super::{KeySetError, PublicKey};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::pem::{PemObject, SectionKind};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<PublicKey>, KeySetError> {
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        match section.map_err(|_| KeySetError::Pem)? {
            (SectionKind::PublicKey, der) => keys.extend(public_key(&der)),
            (SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _) => {
                return Err(KeySetError::Private);
            }
            _ => {}
        }
    }
    Ok(keys)
}

fn public_key(der: &[u8]) -> Option<PublicKey> {
    let (algorithm, key) = parse_info(der)?;
    Some(PublicKey { id: None, algorithm, key })
}

/// The bytes of an Ed25519 key.
pub(in crate::auth) fn ed25519(der: &[u8]) -> Option<[u8; 32]> {
    match parse_info(der)? {
        (Algorithm::EdDSA, key) => key.try_get_as_bytes().ok()?.try_into().ok(),
        _ => None,
    }
}

fn parse_info(der: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let key = info.subject_public_key.data.as_ref();
    let kind = &info.algorithm.algorithm;
    if *kind == OID_SIG_ED25519 {
        return (key.len() == 32).then(|| (Algorithm::EdDSA, DecodingKey::from_ed_der(key)));
    }
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
        let uncompressed = curve == OID_EC_P256 && key.len() == 65 && key[0] == 4;
        return uncompressed.then(|| (Algorithm::ES256, DecodingKey::from_ec_der(key)));
    }
    if *kind == OID_PKCS1_RSAENCRYPTION {
        let x509_parser::public_key::PublicKey::RSA(rsa) = info.parsed().ok()? else { return None };
        return rsa_is_allowed(rsa.modulus).then(|| (Algorithm::RS256, DecodingKey::from_rsa_der(key)));
    }
    None
}

/// Whether a modulus has 2048 to 8192 bits: what is shorter can be broken, and what is longer costs much to verify with.
pub(super) fn rsa_is_allowed(modulus: &[u8]) -> bool {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    (256..=1024).contains(&(modulus.len() - zeros))
}
