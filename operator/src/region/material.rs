//! What a region's Secrets hold: kept where it is there and good, made where it is not.

use super::{
    authority::{AuthorityError, LEAF_RENEWAL, Pair, Rolling, not_after},
    names::Names,
};
use crate::objects::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The name of the CA for links between relays.
const PEER_CA_NAME: &str = "Adit peers";
/// The name of the CA that clients are given until there is a Certificate.
const DEVELOPMENT_CA_NAME: &str = "Adit development CA";
/// The name that relays present to each other, before the region's domain.
const PEER_NAME: &str = "peer.";

/// The content of a Secret.
pub type Data = BTreeMap<String, String>;

/// The Secrets that were found, by name.
pub type Found = BTreeMap<String, Data>;

/// What the relays of a region use.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The key that seals credentials and tickets, and the one that signs tokens, as their files.
    pub keys: Data,
    /// The CA for links between relays, which no relay sees.
    pub peer_authority: Rolling,
    /// What relays trust and present to each other, as its files.
    pub peer: Data,
    /// The development CA, whose key no relay sees.
    pub development_authority: Pair,
    /// The development certificate, as its files.
    pub development: Data,
    /// The password of the managed registry's one user.
    pub registry_password: String,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// What decides beside what was found.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The time.
    pub now: OffsetDateTime,
    /// Whether every relay has confirmed the configuration that was last written.
    pub confirmed: bool,
    /// A person's request to roll the peer CA.
    pub asked: Option<&'a str>,
}

impl Material {
    /// Keeps what was found and is good, makes the rest.
    ///
    /// # Errors
    /// What the crypto library reports.
    pub fn of(
        found: &Found,
        names: Names<'_>,
        domain: &str,
        moment: Moment<'_>,
    ) -> Result<Self, AuthorityError> {
        let get = |secret: String, key: &str| found.get(&secret).and_then(|data| data.get(key)).cloned();
        let keys = match (get(names.keys(), "region.key"), get(names.keys(), "token.key")) {
            (region, tokens) if region.is_some() || tokens.is_some() => Data::from([
                ("region.key".to_owned(), region.unwrap_or_else(region_key)),
                ("token.key".to_owned(), tokens.map_or_else(token_key, Ok)?),
            ]),
            _ => {
                Data::from([("region.key".to_owned(), region_key()), ("token.key".to_owned(), token_key()?)])
            }
        };
        let peer_authority = peer_authority(found.get(&names.peer_ca()), moment)?;
        let peer = peer(found.get(&names.peer()), &peer_authority, domain, moment.now)?;
        let development_authority = match (get(names.ca(), "ca.crt"), get(names.ca(), "ca.key")) {
            (Some(cert), Some(key))
                if not_after(&cert).is_some_and(|end| end - moment.now > LEAF_RENEWAL) =>
            {
                Pair { cert, key }
            }
            _ => Pair::authority(DEVELOPMENT_CA_NAME, moment.now)?,
        };
        let names_served = [domain.to_owned(), format!("*.{domain}")];
        let kept = found.get(&names.development());
        let development = leaf(kept, &development_authority, &names_served, moment.now)?;
        let registry_password = get(names.registry(), "password").unwrap_or_else(random);
        Ok(Self { keys, peer_authority, peer, development_authority, development, registry_password })
    }

    /// The content of the peer CA's Secret.
    pub fn peer_authority_data(&self) -> Data {
        let Rolling { current, next, previous, rolled_for } = &self.peer_authority;
        let mut data = Data::from([
            ("ca.crt".to_owned(), current.cert.clone()),
            ("ca.key".to_owned(), current.key.clone()),
        ]);
        if let Some(next) = next {
            data.insert("next.crt".to_owned(), next.cert.clone());
            data.insert("next.key".to_owned(), next.key.clone());
        }
        data.extend(previous.iter().map(|cert| ("previous.crt".to_owned(), cert.clone())));
        data.extend(rolled_for.iter().map(|asked| ("rolled-for".to_owned(), asked.clone())));
        data
    }

    /// When the first of the served certificates ends.
    pub fn served_until(&self) -> Option<OffsetDateTime> {
        self.development.get("tls.crt").and_then(|pem| not_after(pem))
    }
}

fn peer_authority(found: Option<&Data>, moment: Moment<'_>) -> Result<Rolling, AuthorityError> {
    let get = |key: &str| found.and_then(|data| data.get(key)).cloned();
    let pair = |cert: &str, key: &str| get(cert).zip(get(key)).map(|(cert, key)| Pair { cert, key });
    let Some(current) = pair("ca.crt", "ca.key").filter(|pair| not_after(&pair.cert).is_some()) else {
        return Ok(Rolling::new(Pair::authority(PEER_CA_NAME, moment.now)?));
    };
    let rolling = Rolling {
        current,
        next: pair("next.crt", "next.key"),
        previous: get("previous.crt"),
        rolled_for: get("rolled-for"),
    };
    Ok(rolling.step(PEER_CA_NAME, moment.now, moment.confirmed, moment.asked)?.unwrap_or(rolling))
}

fn peer(
    found: Option<&Data>,
    ca: &Rolling,
    domain: &str,
    now: OffsetDateTime,
) -> Result<Data, AuthorityError> {
    let mut peer = leaf(found, &ca.current, &[format!("{PEER_NAME}{domain}")], now)?;
    peer.insert("ca.crt".to_owned(), ca.trusted());
    Ok(peer)
}

/// The certificate that was found, if it is of this CA and has time left, else a new one. `issuer` says which CA it is
/// of.
fn leaf(
    found: Option<&Data>,
    ca: &Pair,
    names: &[String],
    now: OffsetDateTime,
) -> Result<Data, AuthorityError> {
    let of = digest(&[ca.cert.as_bytes(), names.join(",").as_bytes()]);
    let get = |key: &str| found.and_then(|data| data.get(key));
    if let (Some(cert), Some(key), Some(issuer)) = (get("tls.crt"), get("tls.key"), get("issuer")) {
        let young = not_after(cert).is_some_and(|end| end - now > LEAF_RENEWAL);
        if *issuer == of && young {
            return Ok(files(cert.clone(), key.clone(), of));
        }
    }
    let pair = ca.issue(names, now)?;
    Ok(files(pair.cert, pair.key, of))
}

fn files(cert: String, key: String, issuer: String) -> Data {
    Data::from([("tls.crt".to_owned(), cert), ("tls.key".to_owned(), key), ("issuer".to_owned(), issuer)])
}

/// 32 random bytes in base64, as the relay's `keys.region` has them.
impl Material {
    /// What the private keys of certificates are sealed to: the public half of what relays make of their region key.
    pub fn sealing_key(&self) -> Option<String> {
        let first = self.keys.get("region.key")?.lines().map(str::trim).find(|line| !line.is_empty())?;
        let bytes = BASE64_STANDARD.decode(first).ok()?;
        Some(adit_acme::SealingKey::of(&bytes).public_text())
    }
}

fn region_key() -> String {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    BASE64_STANDARD.encode(bytes) + "\n"
}

/// An Ed25519 key as the relay's `keys.tokens` has it.
fn token_key() -> Result<String, AuthorityError> {
    Ok(rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_pem())
}

/// 32 random hexadecimal digits.
fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: i64, confirmed: bool) -> Moment<'static> {
        Moment {
            now: OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap(),
            confirmed,
            asked: None,
        }
    }

    fn stored(material: &Material) -> Found {
        let names = Names("eu");
        let ca = &material.development_authority;
        Found::from([
            (names.keys(), material.keys.clone()),
            (names.peer_ca(), material.peer_authority_data()),
            (names.peer(), material.peer.clone()),
            (names.ca(), Data::from([("ca.crt".into(), ca.cert.clone()), ("ca.key".into(), ca.key.clone())])),
            (names.development(), material.development.clone()),
            (names.registry(), Data::from([("password".into(), material.registry_password.clone())])),
        ])
    }

    fn of(found: &Found, moment: Moment<'_>) -> Material {
        Material::of(found, Names("eu"), "eu.example.com", moment).unwrap()
    }

    #[test]
    fn what_was_made_once_is_kept() {
        let made = of(&Found::new(), moment(0, false));
        assert_eq!(of(&stored(&made), moment(86_400 * 30, true)), made);
    }

    #[test]
    fn a_part_that_was_lost_is_made_and_the_rest_is_kept() {
        let made = of(&Found::new(), moment(0, false));
        for lost in stored(&made).keys() {
            let mut found = stored(&made);
            found.remove(lost);
            let again = of(&found, moment(0, false));
            assert_ne!(again, made, "{lost}");
            let kept = [
                (Names("eu").keys(), again.keys == made.keys),
                (Names("eu").registry(), again.registry_password == made.registry_password),
                (Names("eu").peer_ca(), again.peer_authority == made.peer_authority),
                (Names("eu").ca(), again.development_authority == made.development_authority),
            ];
            for (name, same) in kept {
                assert_eq!(same, name != *lost, "{name} when {lost} was lost");
            }
        }
        let mut broken = stored(&made);
        broken.get_mut("eu-keys").unwrap().remove("token.key");
        let again = of(&broken, moment(0, false));
        assert_eq!(again.keys["region.key"], made.keys["region.key"]);
        assert!(again.keys["token.key"].contains("PRIVATE KEY"));
    }

    #[test]
    fn certificates_are_renewed_in_time_and_their_authority_stays() {
        let made = of(&Found::new(), moment(0, false));
        let later = of(&stored(&made), moment(86_400 * 61, true));
        assert_ne!(later.peer["tls.crt"], made.peer["tls.crt"]);
        assert_eq!(later.peer["ca.crt"], made.peer["ca.crt"]);
        assert_ne!(later.development["tls.crt"], made.development["tls.crt"]);
        assert_eq!(later.development_authority, made.development_authority);
        let until = later.served_until().unwrap();
        assert_eq!(until, moment(86_400 * 151, true).now);
    }

    #[test]
    fn a_roll_goes_through_all_its_steps_with_a_certificate_that_all_trust() {
        let made = of(&Found::new(), moment(0, true));
        let asked = |confirmed| Moment { asked: Some("now"), ..moment(0, confirmed) };
        let both = of(&stored(&made), asked(true));
        assert_eq!(both.peer["tls.crt"], made.peer["tls.crt"], "the old one signs");
        assert_eq!(of(&stored(&both), asked(false)), both, "it waits for the relays");
        let signed = of(&stored(&both), asked(true));
        assert_ne!(signed.peer["tls.crt"], made.peer["tls.crt"]);
        assert_eq!(signed.peer["ca.crt"].matches("BEGIN").count(), 2);
        let last = of(&stored(&signed), asked(true));
        assert_eq!(last.peer["tls.crt"], signed.peer["tls.crt"]);
        assert_eq!(last.peer["ca.crt"].matches("BEGIN").count(), 1);
        assert_eq!(of(&stored(&last), asked(true)), last);
    }
}
