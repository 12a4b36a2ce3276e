//! Events of a client: the lines of `adit --json`, and what a program gets from [`crate::Client::events`].
//!
//! Each event is one JSON object with `v`, `time`, `event` and that event's own fields. Fields are only ever added
//! within one `v`; an optional field without a value is left out.

mod time;

pub use self::time::Time;
use crate::problem::Problem;
use adit_protocol::{Code, Kind, RelayId, SessionId, TunnelId};
use serde::{Deserialize, Serialize};

/// The version of the events' shape.
pub const VERSION: u32 = 1;

/// One thing that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`VERSION`].
    pub v: u32,
    /// When it happened, by this computer's clock.
    pub time: Time,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// Something that happens now.
    pub fn now(kind: impl Into<EventKind>) -> Self {
        Self { v: VERSION, time: Time::now(), kind: kind.into() }
    }
}

/// The kinds of events; the `event` field has the names below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum EventKind {
    /// The client runs. It comes once, first.
    #[serde(rename = "client.started")]
    ClientStarted {
        /// The client's version, for example `0.1.0`.
        version: String,
        /// Its process.
        pid: u32,
        /// The configuration file that was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<String>,
        /// Where the inspector answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inspect: Option<String>,
    },
    /// The client as a whole: connected while at least one session is.
    #[serde(rename = "client.state")]
    ClientState {
        /// Its state.
        state: ClientState,
        /// Why, for a person. While connecting: the host that is dialled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// When the next try begins. One event comes for each try, so their number is that of the tries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Time>,
    },
    /// One session with one relay.
    #[serde(rename = "session.state")]
    SessionState(Session),
    /// The client has a tunnel to open; comes before the tunnel's first state.
    #[serde(rename = "tunnel.added")]
    TunnelAdded(Tunnel),
    /// A tunnel is to be served in another way from now on.
    #[serde(rename = "tunnel.config")]
    TunnelConfig(Tunnel),
    /// One tunnel as its consumers find it.
    #[serde(rename = "tunnel.state")]
    TunnelState(TunnelStatus),
    /// The client has given a tunnel up.
    #[serde(rename = "tunnel.removed")]
    TunnelRemoved {
        /// The client's own id for it.
        tunnel: TunnelId,
        /// Why, for a person.
        reason: String,
    },
    /// One HTTP exchange, upgraded ones included.
    #[serde(rename = "request")]
    Request(Exchange),
    /// One TCP connection.
    #[serde(rename = "connection")]
    Connection(Exchange),
    /// A warning. The client goes on.
    #[serde(rename = "notice")]
    Notice(Problem),
    /// A failure. If it is fatal, the client ends.
    #[serde(rename = "error")]
    Error(Problem),
    /// The client ends. It comes once, last.
    #[serde(rename = "client.stopped")]
    ClientStopped {
        /// The exit code of the command.
        exit_code: u8,
        /// Why, for a person.
        reason: String,
    },
}

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ClientState {
    /// It dials for the first time.
    Connecting,
    /// At least one session is up.
    Connected,
    /// At least one session is up, and one that was lost is dialled again; or all were lost a moment ago.
    Reconnecting,
    /// No relay can be reached.
    Offline,
    /// The account is suspended.
    Suspended,
    /// The client is too old for the region.
    UpgradeRequired,
    /// It ends as soon as the answers in flight are through.
    Stopping,
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum SessionState {
    /// It is dialled.
    Connecting,
    /// It takes streams.
    Connected,
    /// Its relay drains: it takes no more streams once another has taken over.
    Moving,
    /// It has ended.
    Closed,
}

/// One session with one relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The session's id, chosen by the relay.
    pub session: SessionId,
    /// The relay.
    pub relay: RelayId,
    /// The region's domain.
    pub region: String,
    /// Its state.
    pub state: SessionState,
    /// The round trip between client and relay in milliseconds; sent again when it has changed markedly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Why it is closed, for a person: `connection lost`, `relay drains`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A tunnel as the client's user wants it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnel {
    /// The client's own id for it.
    pub tunnel: TunnelId,
    /// The name that was asked for, or the tunnel's key in `adit.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind of traffic that it carries.
    pub kind: Kind,
    /// The local service as people write it: `http://127.0.0.1:3000`, `127.0.0.1:22`.
    pub service: String,
    /// Whether it is to be opened; `false`: it stays configured, offline.
    pub enabled: bool,
    /// Its other settings by their names in `adit.yaml`, secrets left out.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// The state of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum TunnelState {
    /// No relay has granted it yet.
    Connecting,
    /// Consumers reach the service.
    Connected,
    /// The region does not grant it: `code` says why.
    Refused,
    /// The tunnel is open, but the local service does not answer.
    ServiceDown,
    /// The tunnel is open, but consumers were refused within the last second because of a limit: `code` says which.
    Limited,
    /// The client's user has paused it.
    Paused,
    /// It has ended: `code` and `reason` say why.
    Closed,
}

/// One tunnel as its consumers find it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelStatus {
    /// The client's own id for it.
    pub tunnel: TunnelId,
    /// Its state.
    pub state: TunnelState,
    /// Where consumers reach it; absent before it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `false`: another name than the one asked for was granted, and `code` says why. Absent if none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_granted: Option<bool>,
    /// Why it is refused, limited, closed or has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The reason for a person: `127.0.0.1:3000 refuses connections`, `200 requests/s reached; 14 consumers got 429`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the client asks for it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// One request or TCP connection of a consumer.
///
/// It is reported when it ends. An upgraded connection, a TCP connection and an answer that takes longer than a second
/// are reported once before, with the same id and without `durationMs`: they are open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The client's own id for the tunnel.
    pub tunnel: TunnelId,
    /// The request's id, the same in the relay's logs; for a connection one that is unique within the client.
    pub id: String,
    /// The consumer's address, `ip` or `ip:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// The request's method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The request's path without its query, which may hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The answer's status; absent if none was sent, and for connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From the request's arrival to the answer's last byte, in milliseconds; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Body bytes from the consumer so far.
    pub bytes_in: u64,
    /// Body bytes to the consumer so far.
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests;
