//! Credentials: the proof of a client after its token.

use super::{Permissions, TokenGrant};
use adit_protocol::{Account, Code};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long after a credential's end its session may go on, in seconds: clocks differ, and renewals take time.
pub const EXPIRY_LEEWAY_SECONDS: u64 = 60;
const HOUR_SECONDS: u64 = 3600;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

/// A credential: bound to the client's key, so that a copy alone is worth nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Names it in the store; kept when it is renewed by its key.
    pub id: String,
    /// The account that it admits.
    pub account: Account,
    /// The client's Ed25519 public key.
    #[serde(with = "key_as_text")]
    pub key: [u8; 32],
    /// The permissions of the client.
    pub permissions: Permissions,
    /// Whether it was given for one of the provider's own tokens: then its key renews it.
    pub managed: bool,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.account.to_string();
        f.debug_struct("Credential")
            .field("id", &self.id)
            .field("account", &account)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// When a session that it admitted ends, in seconds since 1970.
    pub fn session_ends(&self) -> u64 {
        self.expires.saturating_add(EXPIRY_LEEWAY_SECONDS)
    }

    /// Checks that it has not expired.
    ///
    /// # Errors
    /// [`CredentialError::Expired`] from [`session_ends`](Self::session_ends) on.
    pub(super) fn check(&self, now: u64) -> Result<(), CredentialError> {
        if now >= self.session_ends() {
            return Err(CredentialError::Expired { ago: now - self.expires });
        }
        Ok(())
    }
}

/// A credential that admits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// This region did not make it, or somebody changed it.
    #[error("proof.credential: was not made by this region")]
    Invalid,
    /// It has expired.
    #[error("proof.credential: has expired {ago} s ago")]
    Expired {
        /// Seconds since it expired.
        ago: u64,
    },
}

impl CredentialError {
    /// The code for the client.
    pub fn code(self) -> Code {
        match self {
            Self::Invalid => Code::CredentialInvalid,
            Self::Expired { .. } => Code::CredentialExpired,
        }
    }
}

/// How long credentials last, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialLifetimes {
    /// One for a managed token, from when it is given or renewed.
    pub managed: u64,
    /// One for a foreign token.
    pub foreign: u64,
}

impl Default for CredentialLifetimes {
    fn default() -> Self {
        Self { managed: 30 * DAY_SECONDS, foreign: DAY_SECONDS }
    }
}

impl CredentialLifetimes {
    /// The credential that a token buys for a client's key. `id` has to be a new one.
    pub fn issue_with_id(&self, grant: TokenGrant, key: [u8; 32], id: String, now: u64) -> Credential {
        let TokenGrant { account, permissions, managed, .. } = grant;
        Credential {
            id,
            account,
            key,
            permissions,
            managed,
            expires: now.saturating_add(self.lifetime(managed)),
        }
    }

    /// The same with an id of its own.
    pub fn credential(&self, grant: TokenGrant, key: [u8; 32], now: u64) -> Credential {
        self.issue_with_id(grant, key, new_id(), now)
    }

    /// What a client gets that proves itself with a good credential and its key: a managed one lasts anew, a foreign one
    /// ends when it ended before. For that, the client needs a fresh token.
    pub fn renew(&self, credential: &Credential, now: u64) -> Credential {
        let renewed = if credential.managed { now.saturating_add(self.managed) } else { 0 };
        Credential { expires: credential.expires.max(renewed), ..credential.clone() }
    }

    fn lifetime(&self, managed: bool) -> u64 {
        if managed { self.managed } else { self.foreign }
    }
}

/// 128 random bits.
fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

mod key_as_text {
    use crate::auth::client_key;
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(key))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        client_key(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn grant(managed: bool) -> TokenGrant {
        TokenGrant {
            account: Account::managed("me"),
            token_id: None,
            managed,
            expires: 1_000_900,
            permissions: Permissions::managed(),
        }
    }

    #[test]
    fn a_managed_token_buys_30_days_and_its_key_renews_them() {
        let rules = CredentialLifetimes::default();
        let first = rules.credential(grant(true), [7; 32], 1_000_000);
        assert_eq!(first.expires, 1_000_000 + 30 * DAY_SECONDS);
        let renewed = rules.renew(&first, 1_000_000 + 29 * DAY_SECONDS);
        assert_eq!(renewed.expires, 1_000_000 + 59 * DAY_SECONDS);
        assert_eq!(Credential { expires: first.expires, ..renewed }, first, "nothing else changes");
        assert_eq!(rules.renew(&first, 0).expires, first.expires, "a slow clock takes nothing away");
        assert_ne!(rules.credential(grant(true), [7; 32], 1_000_000).id, first.id);
    }

    #[test]
    fn a_foreign_token_buys_a_day_and_only_another_token_more() {
        let rules = CredentialLifetimes::default();
        let first = rules.credential(grant(false), [7; 32], 1_000_000);
        assert_eq!(first.expires, 1_000_000 + DAY_SECONDS);
        assert_eq!(rules.renew(&first, 1_000_000 + HOUR_SECONDS), first);
    }

    #[test]
    fn a_credential_is_over_a_minute_after_its_end() {
        let credential = CredentialLifetimes::default().credential(grant(false), [7; 32], 0);
        assert_eq!(credential.check(DAY_SECONDS + 59), Ok(()));
        let over = CredentialError::Expired { ago: 60 };
        assert_eq!(credential.check(DAY_SECONDS + 60), Err(over));
        assert_eq!(over.code(), Code::CredentialExpired);
        let forever = CredentialLifetimes { managed: u64::MAX, foreign: u64::MAX };
        assert_eq!(forever.credential(grant(true), [7; 32], u64::MAX).check(u64::MAX - 1), Ok(()));
    }

    #[test]
    fn what_is_printed_of_a_credential_is_not_its_key() {
        let credential = CredentialLifetimes::default().credential(grant(true), [7; 32], 0);
        assert!(!format!("{credential:?}").contains("7, 7"));
    }
}
