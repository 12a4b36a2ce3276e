//! The account that a client acts for.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The issuer of a provider's own tokens.
pub const MANAGED_ISSUER: &str = "adit";

/// The issuer and the subject of a client's proof, the same in every region. Limits and complaints apply to an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// `adit` for managed tokens, else the `iss` claim.
    pub issuer: String,
    /// The `sub` claim.
    pub subject: String,
}

impl Account {
    /// The most bytes of issuer and subject together.
    pub const MAX_BYTES: usize = 512;

    /// An account of the provider's own tokens.
    pub fn managed(subject: impl Into<String>) -> Self {
        Self { issuer: MANAGED_ISSUER.to_owned(), subject: subject.into() }
    }

    /// The account as one unique string: the subject for managed tokens, else `issuer|subject`.
    ///
    /// It is unique because a managed subject has no `|`, which [`Account::is_valid`] ensures.
    pub fn key(&self) -> String {
        self.to_string()
    }

    /// Whether both parts are present, within [`Account::MAX_BYTES`] and without control characters, and the key is unique.
    pub fn is_valid(&self) -> bool {
        let plain = |s: &str| !s.is_empty() && !s.contains('|') && !s.chars().any(char::is_control);
        plain(&self.issuer)
            && !self.subject.is_empty()
            && !self.subject.chars().any(char::is_control)
            && (self.issuer != MANAGED_ISSUER || plain(&self.subject))
            && self.issuer.len() + self.subject.len() <= Self::MAX_BYTES
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.issuer == MANAGED_ISSUER {
            f.write_str(&self.subject)
        } else {
            write!(f, "{}|{}", self.issuer, self.subject)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_accounts_never_share_a_key() {
        let foreign = Account { issuer: "https://id.example".into(), subject: "ci".into() };
        assert_eq!(foreign.key(), "https://id.example|ci");
        assert_eq!(Account::managed("ci").key(), "ci");
        assert!(!Account::managed("https://id.example|ci").is_valid());
        assert!(!Account { issuer: "a|b".into(), subject: "c".into() }.is_valid());
        assert!(Account { issuer: "a".into(), subject: "b|c".into() }.is_valid());
        assert!(!Account::managed("").is_valid());
        assert!(!Account::managed("a\nb").is_valid());
    }
}
