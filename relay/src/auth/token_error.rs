//! Errors of tokens.

use adit_config::problem::quoted;
use adit_protocol::Code;
use jsonwebtoken::Algorithm;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A token that admits nobody. Its text names field, value and rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a signed JWT in compact form, or too long.
    #[error("token: {0}")]
    Malformed(&'static str),
    /// It names an algorithm that its issuer's keys are not for, `none` among them.
    #[error("alg: {named} is {rule}")]
    Algorithm {
        /// The algorithm, in quotes.
        named: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// It was not signed by a key of its issuer's.
    #[error("signature: was made with a key that this region does not know")]
    Signature,
    /// Its issuer is not trusted.
    #[error("iss: {} is not an issuer that this region trusts", quoted(.0))]
    Issuer(String),
    /// It was made for somebody else.
    #[error("aud: {} does not name {}", quoted(.named), quoted(.expected))]
    Audience {
        /// The audiences in the token, separated by commas.
        named: String,
        /// The audience that the token must have.
        expected: String,
    },
    /// A claim is missing or breaks a rule.
    #[error("{0}")]
    Claims(String),
    /// It has expired.
    #[error("exp: the token expired at {}, {} s before this relay's {}", utc(*.expired), .now - .expired, utc(*.now))]
    Expired {
        /// The time of expiry, in seconds since 1970.
        expired: u64,
        /// The relay's time, in seconds since 1970.
        now: u64,
    },
    /// It has not begun: a clock is wrong.
    #[error("{claim}: the token starts at {}, {} s after this relay's {}", utc(*.starts), .starts - .now, utc(*.now))]
    ClockSkew {
        /// The claim: `nbf` or `iat`.
        claim: &'static str,
        /// When it begins, in seconds since 1970.
        starts: u64,
        /// The relay's time, in seconds since 1970.
        now: u64,
    },
}

impl TokenError {
    /// The code for the client.
    pub fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => Code::TokenMalformed,
            Self::Algorithm { .. } => Code::TokenAlgorithm,
            Self::Signature => Code::TokenSignature,
            Self::Issuer(_) => Code::TokenIssuer,
            Self::Audience { .. } => Code::TokenAudience,
            Self::Claims(_) => Code::TokenClaims,
            Self::Expired { .. } => Code::TokenExpired,
            Self::ClockSkew { .. } => Code::ClockSkew,
        }
    }

    pub(super) fn unknown_algorithm(name: &str) -> Self {
        Self::Algorithm { named: quoted(name), rule: "not one of EdDSA, ES256 and RS256" }
    }

    pub(super) fn other_algorithm(algorithm: Algorithm) -> Self {
        let named = quoted(&format!("{algorithm:?}"));
        Self::Algorithm { named, rule: "not what the issuer's key is for" }
    }
}

/// A time in RFC 3339.
fn utc(seconds: u64) -> String {
    let time =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{seconds} s after 1970"))
}
