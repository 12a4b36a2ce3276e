//! The codes with which a relay gives the reason of a refusal or an end. They are stable: programs may match them.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The reason why a session, a tunnel or a stream was refused or closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A code of a newer relay, which this version does not know.
            Unknown,
        }

        impl Code {
            /// Every code of this version.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code on the wire and in messages, in snake case.
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
    /// The hello is not valid; the message names the field and the rule.
    BadHello = "bad_hello",
    /// The client is too old; `leastVersion` is the oldest that the relay serves.
    UpgradeRequired = "upgrade_required",
    /// No token or credential was sent.
    TokenMissing = "token_missing",
    /// The token is not a JWT (RFC 7519), or is longer than a relay reads.
    TokenMalformed = "token_malformed",
    /// The token names an algorithm that its issuer does not use, for example `none`.
    TokenAlgorithm = "token_algorithm",
    /// The token's signature was not made with a key of this region's configuration.
    TokenSignature = "token_signature",
    /// This region does not trust the token's issuer.
    TokenIssuer = "token_issuer",
    /// The token is for another audience.
    TokenAudience = "token_audience",
    /// A claim that a relay needs is missing or has the wrong type.
    TokenClaims = "token_claims",
    /// The token has expired.
    TokenExpired = "token_expired",
    /// The token is not valid yet by the relay's clock, by more than the leeway: one of the clocks is wrong.
    ClockSkew = "clock_skew",
    /// The managed token was used before: a token works once.
    TokenUsed = "token_used",
    /// The credential was not sealed by this region.
    CredentialInvalid = "credential_invalid",
    /// The credential has expired, and a new token is needed.
    CredentialExpired = "credential_expired",
    /// The signature over the TLS exporter was not made by the client's key.
    PossessionFailed = "possession_failed",
    /// The account is suspended.
    Suspended = "suspended",
    /// The name is not a DNS label (RFC 1123 section 2.1).
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
    /// The account's limit of tunnels is reached.
    TooManyTunnels = "too_many_tunnels",
    /// The account's limit of sessions is reached.
    TooManySessions = "too_many_sessions",
    /// The account's limit of names is reached, those in quarantine included.
    TooManyNames = "too_many_names",
    /// The registry cannot be reached, and the client has no ticket for the endpoint.
    RegistryUnavailable = "registry_unavailable",
    /// The store cannot be reached, and the request needs it.
    StoreUnavailable = "store_unavailable",
    /// The relay's limit of sessions or connections is reached.
    Overloaded = "overloaded",
    /// A newer instance of the account has taken the endpoint over.
    Replaced = "replaced",
    /// The relay shuts down; the client has been asked to move.
    Draining = "draining",
    /// The other side broke the protocol.
    ProtocolError = "protocol_error",
    /// The service behind the tunnel does not accept connections.
    ServiceDown = "service_down",
    /// The service behind the tunnel did not answer in time.
    ServiceTimeout = "service_timeout",
    /// The service behind the tunnel sent an answer that is not valid HTTP.
    ServiceProtocol = "service_protocol",
    /// The client's user has paused the tunnel.
    Paused = "paused",
    /// No tunnel has the address that the consumer opened.
    UnknownHost = "unknown_host",
    /// The tunnel exists, but no client serves it now.
    TunnelOffline = "tunnel_offline",
    /// The session was lost before the answer began, and the request must not be sent again.
    SessionLost = "session_lost",
    /// The consumer's request is not valid HTTP.
    BadRequest = "bad_request",
    /// The connection's TLS server name and the request's Host do not agree.
    Misdirected = "misdirected",
    /// The request's body is larger than the account's limit.
    BodyTooLarge = "body_too_large",
    /// The request's headers are larger than the relay reads.
    HeadersTooLarge = "headers_too_large",
    /// The account's limit of requests a second is reached.
    RateLimited = "rate_limited",
    /// The account's limit of streams, or that of its sessions, is reached.
    TooManyStreams = "too_many_streams",
    /// The account's limit of unread bytes was passed: the stream with the most of them was reset.
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
