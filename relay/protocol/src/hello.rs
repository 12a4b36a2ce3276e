//! The first message of each side of a session: the client's hello and the relay's reply.

use crate::{
    Account, Code, Endpoint, InstanceId, Kind, RelayId, SessionId, SuspensionNotice, TunnelId, TunnelOptions,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most tunnels that one hello may open.
pub const MAX_TUNNELS: usize = 100;
/// The most relays in [`Hello::avoid`], and in [`Hello::only`].
pub const MAX_AVOID: usize = 16;

/// Facts of a refusal by name, for the texts that a client shows: `limit`, `tokenCommand`, `issuers`. A client passes over
/// names that it does not know.
pub type Facts = BTreeMap<String, String>;

/// The first message of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The versions of the protocol that the client speaks.
    pub versions: Vec<u32>,
    /// The multiplexers that it speaks, for example [`crate::MUX_H2`].
    pub mux: Vec<String>,
    /// The client's program and version, for example `0.1.0`.
    pub client_version: String,
    /// Proof of the client's account.
    pub proof: Proof,
    /// The client's Ed25519 public key (RFC 8032), 32 bytes in base64url without padding.
    pub key: String,
    /// The signature that [`crate::possession`] describes, 64 bytes in base64url without padding.
    pub signature: String,
    /// The run of the client.
    pub instance: InstanceId,
    /// The relays with which the client has a session already: each of them answers [`Reply::Elsewhere`].
    #[serde(default)]
    pub avoid: Vec<RelayId>,
    /// If not empty, the only relays that the client wants: all others answer [`Reply::Elsewhere`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<RelayId>,
    /// The tunnels that this session serves from its start.
    #[serde(default)]
    pub tunnels: Vec<OpenTunnel>,
}

/// Proof of a client's account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Proof {
    /// A signed JWT (RFC 7519) of the provider or of another issuer.
    Token {
        /// Its compact serialisation (RFC 7515 section 3.1).
        token: String,
    },
    /// A credential that a relay issued for a token, bound to the client's key.
    Credential {
        /// The value of [`Welcome::credential`].
        credential: String,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "Token(***)",
            Self::Credential { .. } => "Credential(***)",
        })
    }
}

/// One tunnel that a client wants to serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenTunnel {
    /// The client's own id for it.
    pub tunnel: TunnelId,
    /// The kind of traffic.
    pub kind: Kind,
    /// `http`: the name that the client asks for; absent: a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `http`: whether a random name is accepted if `name` is refused.
    #[serde(default)]
    pub any_name: bool,
    /// `tcp`: the public port that the client asks for; absent: any of the region's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The ticket of an earlier session of this instance: it gets the same endpoint without registry and store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// What the relays that accept its consumers are to do.
    #[serde(default, skip_serializing_if = "TunnelOptions::is_empty")]
    pub options: TunnelOptions,
}

/// A relay's answer to a hello.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Reply {
    /// The session begins: HTTP/2 follows at once.
    Welcome(Box<Welcome>),
    /// This relay is one to avoid: the client should dial again. The connection ends.
    Elsewhere(HelloRedirect),
    /// The relay refuses the client. The connection ends.
    Refused(HelloRefusal),
}

/// The start of a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The version of the protocol that both sides speak from here on.
    pub version: u32,
    /// The multiplexer that follows.
    pub mux: String,
    /// This relay.
    pub relay: RelayId,
    /// The region's domain.
    pub region: String,
    /// This session.
    pub session: SessionId,
    /// How many sessions the client should hold with each relay: 1 or 2.
    pub sessions: u8,
    /// How many relays of the region are healthy, this one included.
    pub relays: u32,
    /// The client's account.
    pub account: Account,
    /// The proof from now on. It is a secret.
    pub credential: String,
    /// When the credential ends, in seconds since 1970 (UTC).
    pub credential_expires: u64,
    /// Whether a fresh token is needed to renew it (`true`), or the client's key is enough.
    pub renew_with_token: bool,
    /// The tunnels that were opened.
    pub opened: Vec<OpenedTunnel>,
    /// The tunnels that were not.
    pub refused: Vec<RefusedTunnel>,
    /// The provider's name and where to write about abuse, for messages.
    #[serde(default)]
    pub provider: Provider,
}

/// The provider of the relays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// The provider's name.
    #[serde(default)]
    pub name: String,
    /// An e-mail address for complaints and appeals.
    #[serde(default)]
    pub abuse: String,
}

/// A tunnel that a session serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedTunnel {
    /// The client's own id for it.
    pub tunnel: TunnelId,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The same as a URL: `https://shop.eu.example.com` or `tcp://eu.example.com:20022`.
    pub url: String,
    /// Admits the same endpoint again at any relay of the region. It is a secret.
    pub ticket: String,
    /// Why the requested name was refused, if a random one was granted instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_refused: Option<Code>,
}

/// A tunnel that was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedTunnel {
    /// The client's own id for it.
    pub tunnel: TunnelId,
    /// Why.
    pub code: Code,
    /// The same for a person.
    pub message: String,
    /// The time after which another attempt may succeed, in milliseconds; absent: none does without a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The reply of a relay that the client asked to avoid.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HelloRedirect {
    /// The relay that answered.
    pub relay: RelayId,
    /// How many relays of the region are healthy: with 1 there is no other.
    pub relays: u32,
}

/// The refusal of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HelloRefusal {
    /// Why.
    pub code: Code,
    /// The same for a person, with field, value and rule.
    pub message: String,
    /// The relay's clock in seconds since 1970 (UTC), by which a client notices that its own is wrong.
    pub time: u64,
    /// With [`Code::UpgradeRequired`]: the oldest client that the relay serves.
    #[serde(default, rename = "leastVersion", skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// The time after which another attempt may succeed, in milliseconds; absent: none does without a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The provider, for messages.
    #[serde(default)]
    pub provider: Provider,
    /// With [`Code::Suspended`]: the suspension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Box<SuspensionNotice>>,
    /// What the refusal is about, for the client's texts.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
}
