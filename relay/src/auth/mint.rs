//! Minting of managed tokens.

use super::{NamePattern, TokenKeys};
use adit_protocol::{Account, Kind, account::MANAGED_ISSUER};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use std::time::Duration;

/// Maximum lifetime of a managed token, in seconds.
pub(super) const MAX_TTL_SECONDS: u64 = 24 * 3600;
/// The longest `jti`.
pub(super) const MAX_ID_BYTES: usize = 128;

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Whose it is: one of the provider's own accounts.
    pub account: Account,
    /// How long it can be used, 1 s to 24 h.
    pub ttl: Duration,
    /// Which names it allows; `None`: every name.
    pub names: Option<Vec<NamePattern>>,
    /// Which kinds it allows; `None`: every kind that the region offers.
    pub kinds: Option<Vec<Kind>>,
    /// The region's domain.
    pub audience: String,
}

/// Why a token cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Only public keys are there.
    #[error("the key is a public one: it cannot sign")]
    NoPrivateKey,
    /// The account is another issuer's, or breaks a rule.
    #[error("an account of the provider's own has a name without '|' and control characters")]
    Account,
    /// The time is out of range.
    #[error("a token can be used for 1 s to 24 h")]
    Ttl,
    /// There are too many names.
    #[error("a token has at most {} patterns of names", super::Permissions::MAX_NAMES)]
    Names,
}

/// Makes a token that begins at `now`, in seconds since 1970.
///
/// # Errors
/// [`MintError`].
pub fn mint(keys: &TokenKeys, request: &TokenRequest, now: u64) -> Result<String, MintError> {
    let TokenRequest { account, ttl, names, kinds, audience } = request;
    if account.issuer != MANAGED_ISSUER || !account.is_valid() {
        return Err(MintError::Account);
    }
    if !(1..=MAX_TTL_SECONDS).contains(&ttl.as_secs()) {
        return Err(MintError::Ttl);
    }
    if names.as_ref().is_some_and(|names| names.len() > super::Permissions::MAX_NAMES) {
        return Err(MintError::Names);
    }
    let mut claims = json!({
        "iss": MANAGED_ISSUER,
        "sub": account.subject,
        "aud": audience,
        "iat": now,
        "exp": now.saturating_add(ttl.as_secs()),
        "jti": format!("{:032x}", rand::random::<u128>()),
    });
    if let Some(names) = names {
        claims["adit"]["names"] = json!(names);
    }
    if let Some(kinds) = kinds {
        claims["adit"]["kinds"] = json!(kinds);
    }
    let part = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
    let header = json!({ "alg": "EdDSA", "typ": "JWT" });
    let signed = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
    let signature = keys.sign(signed.as_bytes()).ok_or(MintError::NoPrivateKey)?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}
