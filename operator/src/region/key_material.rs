//! The keys and certificates of a region: those that exist and are valid are kept, the others are made.

use super::{
    authority::{AuthorityError, CertificateAndKey, LEAF_RENEWAL, RollingAuthority, not_after},
    object_names::ObjectNames,
};
use crate::objects::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The name of the CA for links between relays.
const PEER_CA_NAME: &str = "Adit peers";
/// The name of the CA that clients are given until there is a Certificate.
const DEVELOPMENT_CA_NAME: &str = "Adit development CA";
/// The prefix of the name in certificates for links between relays; the region's domain follows.
const PEER_PREFIX: &str = "peer.";

/// The content of a Secret.
pub(super) type SecretData = BTreeMap<String, String>;

/// The Secrets of a Region, by name.
pub(super) type Secrets = BTreeMap<String, SecretData>;

/// The keys and certificates that a region's relays and registry use.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyMaterial {
    /// The region key, which seals credentials and tickets, and the key that signs tokens.
    pub(super) keys: SecretData,
    /// The CA for links between relays. No relay has its key.
    pub(super) peer_authority: RollingAuthority,
    /// The trusted CAs, certificate and key for links between relays.
    pub(super) peer: SecretData,
    /// The development CA. No relay has its key.
    pub(super) development_authority: CertificateAndKey,
    /// The development certificate and its key.
    pub(super) development: SecretData,
    /// The password of the managed registry's only user.
    pub(super) registry_password: String,
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMaterial").finish_non_exhaustive()
    }
}

/// What decides about renewals and about the rotation of the peer CA.
#[derive(Clone, Copy, Debug)]
pub(super) struct RotationInputs<'a> {
    /// The time.
    pub(super) now: OffsetDateTime,
    /// Whether every relay has confirmed the configuration that was last written.
    pub(super) is_confirmed: bool,
    /// The value of the annotation that requests a new peer CA.
    pub(super) requested: Option<&'a str>,
}

impl KeyMaterial {
    /// Keeps what exists and is valid, and makes the rest.
    ///
    /// # Errors
    /// What the crypto library reports.
    pub(super) fn of(
        secrets: &Secrets,
        names: ObjectNames<'_>,
        domain: &str,
        rotation: RotationInputs<'_>,
    ) -> Result<Self, AuthorityError> {
        let get = |secret: String, key: &str| secrets.get(&secret).and_then(|data| data.get(key)).cloned();
        let keys = match (get(names.keys(), "region.key"), get(names.keys(), "token.key")) {
            (region, tokens) if region.is_some() || tokens.is_some() => SecretData::from([
                ("region.key".to_owned(), region.unwrap_or_else(region_key)),
                ("token.key".to_owned(), tokens.map_or_else(token_key, Ok)?),
            ]),
            _ => SecretData::from([
                ("region.key".to_owned(), region_key()),
                ("token.key".to_owned(), token_key()?),
            ]),
        };
        let peer_authority = peer_authority(secrets.get(&names.peer_ca()), rotation)?;
        let peer = peer(secrets.get(&names.peer()), &peer_authority, domain, rotation.now)?;
        let development_authority = match (get(names.ca(), "ca.crt"), get(names.ca(), "ca.key")) {
            (Some(cert), Some(key))
                if not_after(&cert).is_some_and(|end| end - rotation.now > LEAF_RENEWAL) =>
            {
                CertificateAndKey { cert, key }
            }
            _ => CertificateAndKey::authority(DEVELOPMENT_CA_NAME, rotation.now)?,
        };
        let names_served = [domain.to_owned(), format!("*.{domain}")];
        let kept = secrets.get(&names.development());
        let development = leaf(kept, &development_authority, &names_served, rotation.now)?;
        let registry_password = get(names.registry(), "password").unwrap_or_else(random_password);
        Ok(Self { keys, peer_authority, peer, development_authority, development, registry_password })
    }

    /// The content of the peer CA's Secret.
    pub(super) fn peer_authority_data(&self) -> SecretData {
        let RollingAuthority { current, next, previous, rolled_for } = &self.peer_authority;
        let mut data = SecretData::from([
            ("ca.crt".to_owned(), current.cert.clone()),
            ("ca.key".to_owned(), current.key.clone()),
        ]);
        if let Some(next) = next {
            data.insert("next.crt".to_owned(), next.cert.clone());
            data.insert("next.key".to_owned(), next.key.clone());
        }
        data.extend(previous.iter().map(|cert| ("previous.crt".to_owned(), cert.clone())));
        data.extend(rolled_for.iter().map(|request| ("rolled-for".to_owned(), request.clone())));
        data
    }

    /// When the development certificate expires.
    pub(super) fn development_not_after(&self) -> Option<OffsetDateTime> {
        self.development.get("tls.crt").and_then(|pem| not_after(pem))
    }
}

fn peer_authority(
    found: Option<&SecretData>,
    rotation: RotationInputs<'_>,
) -> Result<RollingAuthority, AuthorityError> {
    let get = |key: &str| found.and_then(|data| data.get(key)).cloned();
    let pair =
        |cert: &str, key: &str| get(cert).zip(get(key)).map(|(cert, key)| CertificateAndKey { cert, key });
    let Some(current) = pair("ca.crt", "ca.key").filter(|pair| not_after(&pair.cert).is_some()) else {
        return Ok(RollingAuthority::new(CertificateAndKey::authority(PEER_CA_NAME, rotation.now)?));
    };
    let rolling = RollingAuthority {
        current,
        next: pair("next.crt", "next.key"),
        previous: get("previous.crt"),
        rolled_for: get("rolled-for"),
    };
    Ok(rolling
        .step(PEER_CA_NAME, rotation.now, rotation.is_confirmed, rotation.requested)?
        .unwrap_or(rolling))
}

fn peer(
    found: Option<&SecretData>,
    ca: &RollingAuthority,
    domain: &str,
    now: OffsetDateTime,
) -> Result<SecretData, AuthorityError> {
    let mut peer = leaf(found, &ca.current, &[format!("{PEER_PREFIX}{domain}")], now)?;
    peer.insert("ca.crt".to_owned(), ca.trusted());
    Ok(peer)
}

/// The existing certificate, if this CA issued it for these names and it is not due for renewal; else a new one. The key
/// `issuer` of the Secret identifies the CA and the names.
fn leaf(
    found: Option<&SecretData>,
    ca: &CertificateAndKey,
    names: &[String],
    now: OffsetDateTime,
) -> Result<SecretData, AuthorityError> {
    let issued_by = digest(&[ca.cert.as_bytes(), names.join(",").as_bytes()]);
    let get = |key: &str| found.and_then(|data| data.get(key));
    if let (Some(cert), Some(key), Some(issuer)) = (get("tls.crt"), get("tls.key"), get("issuer")) {
        let is_valid = not_after(cert).is_some_and(|end| end - now > LEAF_RENEWAL);
        if *issuer == issued_by && is_valid {
            return Ok(files(cert.clone(), key.clone(), issued_by));
        }
    }
    let pair = ca.issue(names, now)?;
    Ok(files(pair.cert, pair.key, issued_by))
}

fn files(cert: String, key: String, issuer: String) -> SecretData {
    SecretData::from([
        ("tls.crt".to_owned(), cert),
        ("tls.key".to_owned(), key),
        ("issuer".to_owned(), issuer),
    ])
}

impl KeyMaterial {
    /// The public key to which certificates' private keys are sealed for this region. Relays derive the private half from
    /// their region key.
    pub(super) fn sealing_key(&self) -> Option<String> {
        let first = self.keys.get("region.key")?.lines().map(str::trim).find(|line| !line.is_empty())?;
        let bytes = BASE64_STANDARD.decode(first).ok()?;
        Some(adit_acme::SealingKey::of(&bytes).public_text())
    }
}

/// 32 random bytes in base64, the format of the relay's `keys.region`.
fn region_key() -> String {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    BASE64_STANDARD.encode(bytes) + "\n"
}

/// An Ed25519 key in PEM, the format of the relay's `keys.tokens`.
fn token_key() -> Result<String, AuthorityError> {
    Ok(rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_pem())
}

/// 32 random hexadecimal digits.
fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(seconds: i64, confirmed: bool) -> RotationInputs<'static> {
        RotationInputs {
            now: OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap(),
            is_confirmed: confirmed,
            requested: None,
        }
    }

    fn stored(material: &KeyMaterial) -> Secrets {
        let names = ObjectNames("eu");
        let ca = &material.development_authority;
        Secrets::from([
            (names.keys(), material.keys.clone()),
            (names.peer_ca(), material.peer_authority_data()),
            (names.peer(), material.peer.clone()),
            (
                names.ca(),
                SecretData::from([("ca.crt".into(), ca.cert.clone()), ("ca.key".into(), ca.key.clone())]),
            ),
            (names.development(), material.development.clone()),
            (names.registry(), SecretData::from([("password".into(), material.registry_password.clone())])),
        ])
    }

    fn of(secrets: &Secrets, rotation: RotationInputs<'_>) -> KeyMaterial {
        KeyMaterial::of(secrets, ObjectNames("eu"), "eu.example.com", rotation).unwrap()
    }

    #[test]
    fn existing_material_is_kept() {
        let made = of(&Secrets::new(), rotation(0, false));
        assert_eq!(of(&stored(&made), rotation(86_400 * 30, true)), made);
    }

    #[test]
    fn a_lost_part_is_made_again_and_the_rest_is_kept() {
        let made = of(&Secrets::new(), rotation(0, false));
        for lost in stored(&made).keys() {
            let mut found = stored(&made);
            found.remove(lost);
            let again = of(&found, rotation(0, false));
            assert_ne!(again, made, "{lost}");
            let kept = [
                (ObjectNames("eu").keys(), again.keys == made.keys),
                (ObjectNames("eu").registry(), again.registry_password == made.registry_password),
                (ObjectNames("eu").peer_ca(), again.peer_authority == made.peer_authority),
                (ObjectNames("eu").ca(), again.development_authority == made.development_authority),
            ];
            for (name, same) in kept {
                assert_eq!(same, name != *lost, "{name} when {lost} was lost");
            }
        }
        let mut broken = stored(&made);
        broken.get_mut("eu-keys").unwrap().remove("token.key");
        let again = of(&broken, rotation(0, false));
        assert_eq!(again.keys["region.key"], made.keys["region.key"]);
        assert!(again.keys["token.key"].contains("PRIVATE KEY"));
    }

    #[test]
    fn certificates_are_renewed_in_time_by_the_same_authority() {
        let made = of(&Secrets::new(), rotation(0, false));
        let later = of(&stored(&made), rotation(86_400 * 61, true));
        assert_ne!(later.peer["tls.crt"], made.peer["tls.crt"]);
        assert_eq!(later.peer["ca.crt"], made.peer["ca.crt"]);
        assert_ne!(later.development["tls.crt"], made.development["tls.crt"]);
        assert_eq!(later.development_authority, made.development_authority);
        let until = later.development_not_after().unwrap();
        assert_eq!(until, rotation(86_400 * 151, true).now);
    }

    #[test]
    fn every_step_of_a_roll_has_a_certificate_that_all_trust() {
        let made = of(&Secrets::new(), rotation(0, true));
        let requested = |confirmed| RotationInputs { requested: Some("now"), ..rotation(0, confirmed) };
        let both = of(&stored(&made), requested(true));
        assert_eq!(both.peer["tls.crt"], made.peer["tls.crt"], "the old one signs");
        assert_eq!(of(&stored(&both), requested(false)), both, "it waits for the relays");
        let signed = of(&stored(&both), requested(true));
        assert_ne!(signed.peer["tls.crt"], made.peer["tls.crt"]);
        assert_eq!(signed.peer["ca.crt"].matches("BEGIN").count(), 2);
        let last = of(&stored(&signed), requested(true));
        assert_eq!(last.peer["tls.crt"], signed.peer["tls.crt"]);
        assert_eq!(last.peer["ca.crt"].matches("BEGIN").count(), 1);
        assert_eq!(of(&stored(&last), requested(true)), last);
    }
}
