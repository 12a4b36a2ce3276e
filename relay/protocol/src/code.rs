//! The codes by which a relay says why it refuses or closes something. They are stable: programs may match them.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// Why a relay refused or closed a session, a tunnel or a stream.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A code that this version does not know, sent by a newer relay.
            Unknown,
        }

        impl Code {
            /// Every code that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as it travels and is shown, in snake case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown => "unknown",
                }
            }
        }

        impl From<String> for Code {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

codes! {
    /// The hello is not valid: its message says which field breaks which rule.
    BadHello = "bad_hello",
    /// The client is too old; `leastVersion` says what the relay needs.
    UpgradeRequired = "upgrade_required",
    /// No token or credential was sent.
    TokenMissing = "token_missing",
    /// The token is not a JWT, or is longer than a relay reads.
    TokenMalformed = "token_malformed",
    /// The token names an algorithm that its issuer does not use, `none` among them.
    TokenAlgorithm = "token_algorithm",
    /// The token's signature was not made with a key that this region knows.
    TokenSignature = "token_signature",
    /// The token's issuer is not one that this region trusts.
    TokenIssuer = "token_issuer",
    /// The token was made for another audience.
    TokenAudience = "token_audience",
    /// A claim that a relay needs is missing or has the wrong type.
    TokenClaims = "token_claims",
    /// The token has expired.
    TokenExpired = "token_expired",
    /// The token starts later than the relay's clock, by more than the leeway: a clock is wrong.
    ClockSkew = "clock_skew",
    /// A managed token was used before: it buys one credential.
    TokenUsed = "token_used",
    /// The credential was not sealed by this region.
    CredentialInvalid = "credential_invalid",
    /// The credential has expired and cannot be renewed by its key alone.
    CredentialExpired = "credential_expired",
    /// The signature over the TLS exporter was not made by the client's key.
    PossessionFailed = "possession_failed",
    /// The account is suspended.
    Suspended = "suspended",
    /// The name is not one DNS label.
    NameInvalid = "name_invalid",
    /// The name is reserved.
    NameReserved = "name_reserved",
    /// The name belongs to another account.
    NameTaken = "name_taken",
    /// The token does not allow this name.
    NameNotAllowed = "name_not_allowed",
    /// The token does not allow this kind of tunnel, or the region does not offer it.
    KindNotAllowed = "kind_not_allowed",
    /// The TCP port is outside the region's range, or all are taken.
    PortUnavailable = "port_unavailable",
    /// The account has as many tunnels as it may have.
    TooManyTunnels = "too_many_tunnels",
    /// The account has as many sessions as it may have.
    TooManySessions = "too_many_sessions",
    /// The account holds as many names as it may, those in quarantine included.
    TooManyNames = "too_many_names",
    /// The registry cannot be reached, and no ticket proves the claim.
    RegistryUnavailable = "registry_unavailable",
    /// The store cannot be reached, and what was asked needs it.
    StoreUnavailable = "store_unavailable",
    /// The relay has no room for another session.
    Overloaded = "overloaded",
    /// The same account opened the endpoint with another instance: the newest wins.
    Replaced = "replaced",
    /// The relay goes away; the client has been asked to move.
    Draining = "draining",
    /// A peer broke the protocol.
    ProtocolError = "protocol_error",
    /// The service behind the tunnel does not accept connections.
    ServiceDown = "service_down",
    /// The service behind the tunnel did not answer in time.
    ServiceTimeout = "service_timeout",
    /// The service behind the tunnel answered with something that is not HTTP.
    ServiceProtocol = "service_protocol",
    /// The client's user has paused the tunnel.
    Paused = "paused",
    /// Nothing is published at the address that the consumer opened.
    UnknownHost = "unknown_host",
    /// The tunnel is known, but no client serves it now.
    TunnelOffline = "tunnel_offline",
    /// The session was lost before the answer began, and the request cannot be sent again.
    SessionLost = "session_lost",
    /// The consumer's request breaks a rule of HTTP.
    BadRequest = "bad_request",
    /// The connection's TLS server name and the request's Host do not agree.
    Misdirected = "misdirected",
    /// The request's body is larger than the account's limit.
    BodyTooLarge = "body_too_large",
    /// The request's headers are larger than the relay reads.
    HeadersTooLarge = "headers_too_large",
    /// The account's requests a second are used up.
    RateLimited = "rate_limited",
    /// The account's streams, or the relay's, are all in use.
    TooManyStreams = "too_many_streams",
    /// The account has more unread bytes than it may: its fullest stream was reset.
    BufferFull = "buffer_full",
    /// Something failed inside the relay.
    Internal = "internal",
}

impl Code {
    /// Whether a token, a credential or the client's key was refused.
    pub fn is_about_proof(self) -> bool {
        matches!(
            self,
            Self::TokenMissing
                | Self::TokenMalformed
                | Self::TokenAlgorithm
                | Self::TokenSignature
                | Self::TokenIssuer
                | Self::TokenAudience
                | Self::TokenClaims
                | Self::TokenExpired
                | Self::ClockSkew
                | Self::TokenUsed
                | Self::CredentialInvalid
                | Self::CredentialExpired
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_and_a_new_one_is_unknown() {
        for code in Code::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<Code>(&text).unwrap(), *code);
        }
        assert_eq!(serde_json::from_str::<Code>("\"later\"").unwrap(), Code::Unknown);
    }
}
