//! JSON Web Key Sets (RFC 7517), as far as they have keys that verify tokens.

use super::{KeySetError, PublicKey, pem::rsa_is_allowed};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Members of private and symmetric keys only.
    d: Option<Value>,
    k: Option<Value>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<PublicKey>, KeySetError> {
    let set: KeySet = serde_json::from_slice(bytes).map_err(KeySetError::Json)?;
    // A key that cannot be read is one of a kind that this version does not know (RFC 7517 section 5).
    let known = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let mut keys = Vec::new();
    for jwk in known {
        if jwk.d.is_some() || jwk.k.is_some() {
            return Err(KeySetError::Private);
        }
        keys.extend(public_key(jwk));
    }
    Ok(keys)
}

fn public_key(jwk: Jwk) -> Option<PublicKey> {
    let part = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    let coordinate = |text: &Option<String>| part(text).filter(|bytes| bytes.len() == 32);
    let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_der(&coordinate(&jwk.x)?)),
        ("EC", Some("P-256")) => {
            let point = [vec![4], coordinate(&jwk.x)?, coordinate(&jwk.y)?].concat();
            (Algorithm::ES256, DecodingKey::from_ec_der(&point))
        }
        ("RSA", None) => {
            let (n, e) = (part(&jwk.n)?, part(&jwk.e)?);
            rsa_is_allowed(&n).then_some(())?;
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(&n, &e))
        }
        _ => return None,
    };
    let name = format!("{algorithm:?}");
    // RFC 9864 gives EdDSA with this curve a name of its own.
    let for_it = |alg: &String| *alg == name || (algorithm == Algorithm::EdDSA && alg == "Ed25519");
    let usable = jwk.used_for.is_none_or(|used| used == "sig")
        && jwk.key_ops.is_none_or(|ops| ops.iter().any(|op| op == "verify"))
        && jwk.alg.as_ref().is_none_or(for_it);
    usable.then_some(PublicKey { id: jwk.kid, algorithm, key })
}
