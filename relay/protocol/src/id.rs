//! Opaque identifiers: 1 to 64 lower-case letters, digits, `-` and `_`.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// The most bytes of an identifier.
pub const MAX_BYTES: usize = 64;

/// An identifier that is empty, longer than [`MAX_BYTES`] or has a character that is not allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{value:?} is not an identifier: it must have 1 to 64 of a-z, 0-9, '-' and '_'")]
pub struct InvalidId {
    value: String,
}

fn check(value: &str) -> Result<(), InvalidId> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if value.is_empty() || value.len() > MAX_BYTES || !value.bytes().all(allowed) {
        let mut shown: String = value.chars().take(MAX_BYTES).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        return Err(InvalidId { value: shown });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(value: &str) -> Result<Self, InvalidId> {
                check(value)?;
                Ok(Self(value.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

id! {
    /// One relay process. The relay chooses it: its `name` from the configuration, or `<host name>-<random>`.
    RelayId
}
id! {
    /// One session, unique within the region. The relay chooses it at random.
    SessionId
}
id! {
    /// One run of one client. The client chooses it at random when it starts.
    InstanceId
}
id! {
    /// One tunnel of one client, for example `tn_4k2p7c0q`. The client chooses it at random and uses it on all its sessions.
    TunnelId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_short_and_plain() {
        assert_eq!("tn_4k2p-1".parse::<TunnelId>().unwrap().as_str(), "tn_4k2p-1");
        for bad in ["", "A", "a b", "a.b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<TunnelId>().is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<RelayId>("\"a\\u0000\"").is_err());
    }
}
