//! The views of the admin API.

use adit_protocol::{Account, Endpoint, InstanceId, Kind, SessionId, TunnelId};
use serde::{Deserialize, Serialize};

/// Some of a list, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Ask again with `after=` this for the rest; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One session of this relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// The account.
    pub account: Account,
    /// The run of the client.
    pub instance: InstanceId,
    /// The client's version.
    pub client_version: String,
    /// Where the client dialled from.
    pub address: String,
    /// The lane that serves it, from 0.
    pub lane: u16,
    /// The tunnels that it serves.
    pub tunnels: Vec<TunnelId>,
    /// The streams that are open now.
    pub streams: u32,
    /// When it was opened, in seconds since 1970; RFC 3339 in JSON.
    #[serde(with = "rfc3339")]
    pub opened_at: u64,
    /// When its credential ends, likewise.
    #[serde(with = "rfc3339")]
    pub expires_at: u64,
}

/// One tunnel that sessions of this relay serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelView {
    /// Its id.
    pub tunnel: TunnelId,
    /// Its public address within the region.
    pub endpoint: Endpoint,
    /// The address as consumers open it.
    pub url: String,
    /// What it carries.
    pub kind: Kind,
    /// The account.
    pub account: Account,
    /// The generation of its claim.
    pub generation: u64,
    /// The sessions of this relay that serve it.
    pub sessions: Vec<SessionId>,
    /// The streams that are open now.
    pub streams: u32,
    /// When this relay first served it, in seconds since 1970; RFC 3339 in JSON.
    #[serde(with = "rfc3339")]
    pub opened_at: u64,
}

/// An item with an id, by which lists are sorted.
pub(super) trait HasId {
    fn id(&self) -> &str;
}

impl HasId for SessionView {
    fn id(&self) -> &str {
        self.session.as_str()
    }
}

impl HasId for TunnelView {
    fn id(&self) -> &str {
        self.tunnel.as_str()
    }
}

pub(super) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};

    pub(in crate::ops::admin) fn serialize<S: Serializer>(
        seconds: &u64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let seconds = i64::try_from(*seconds).map_err(ser::Error::custom)?;
        let time = OffsetDateTime::from_unix_timestamp(seconds).map_err(ser::Error::custom)?;
        serializer.serialize_str(&time.format(&Rfc3339).map_err(ser::Error::custom)?)
    }

    pub(in crate::ops::admin) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)?;
        u64::try_from(time.unix_timestamp()).map_err(de::Error::custom)
    }
}
