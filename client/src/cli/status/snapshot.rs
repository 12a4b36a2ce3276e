//! The snapshot of a running client: one JSON object on its socket.

use super::super::display_state::DisplayState;
use crate::event::{self, ClientState, Time, TunnelState};
use adit_protocol::{Code, Kind, TunnelId};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// The version of the object's shape. Fields are only ever added within one.
pub(crate) const VERSION: u32 = 1;
/// How long a client has to answer: it is on this computer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// The most bytes that are read of one client.
const MAX_BYTES: u64 = 1024 * 1024;
/// The most clients that are asked.
const MAX_CLIENTS: usize = 256;

/// A running client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientSnapshot {
    pub(crate) v: u32,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) started_at: Time,
    /// The region's domain.
    pub(crate) region: String,
    /// Where it was started.
    pub(crate) directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    pub(crate) state: ClientState,
    /// When this state began.
    pub(crate) since: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) sessions: Vec<SessionSnapshot>,
    pub(crate) tunnels: Vec<TunnelSnapshot>,
}

/// One session of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionSnapshot {
    pub(crate) session: String,
    pub(crate) relay: String,
    pub(crate) state: event::SessionState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<u64>,
}

/// One tunnel of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TunnelSnapshot {
    pub(crate) tunnel: TunnelId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) service: String,
    pub(crate) enabled: bool,
    pub(crate) state: TunnelState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name_granted: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<Code>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) since: Time,
}

/// The constant facts of a running client.
#[derive(Clone, Debug)]
pub(crate) struct ClientInfo {
    pub(crate) started_at: Time,
    pub(crate) region: String,
    pub(crate) directory: String,
    pub(crate) config: Option<String>,
}

impl ClientSnapshot {
    /// The snapshot of this client.
    pub(crate) fn of(info: &ClientInfo, state: &DisplayState) -> Self {
        let sessions = state.sessions.iter().map(|(id, session)| SessionSnapshot {
            session: id.to_string(),
            relay: session.relay.clone(),
            state: session.state,
            latency_ms: session.latency_ms,
        });
        let tunnels = state.tunnels.iter().map(|tunnel| TunnelSnapshot {
            tunnel: tunnel.wanted.tunnel.clone(),
            name: tunnel.wanted.name.clone(),
            kind: tunnel.wanted.kind,
            service: tunnel.wanted.service.clone(),
            enabled: tunnel.wanted.enabled,
            state: tunnel.state,
            url: tunnel.url.clone(),
            name_granted: tunnel.name_granted,
            code: tunnel.code,
            reason: tunnel.reason.clone(),
            since: tunnel.since,
        });
        Self {
            v: VERSION,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: info.started_at,
            region: info.region.clone(),
            directory: info.directory.clone(),
            config: info.config.clone(),
            state: state.client,
            since: state.since,
            reason: state.reason.clone(),
            sessions: sessions.collect(),
            tunnels: tunnels.collect(),
        }
    }
}

/// The socket of the client that is this process.
pub(crate) fn socket(folder: &Path, pid: u32) -> PathBuf {
    folder.join(format!("{pid}.sock"))
}

/// Asks one client; `None` if it does not answer.
pub(crate) fn read(socket: &Path) -> Option<ClientSnapshot> {
    ask(socket).ok()
}

fn ask(socket: &Path) -> io::Result<ClientSnapshot> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut text = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Asks all clients whose sockets are in a folder, the oldest first. Sockets without a listener are removed.
pub(crate) fn read_all(folder: &Path) -> Vec<ClientSnapshot> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let sockets = entries.filter(|path| path.extension().is_some_and(|e| e == "sock")).take(MAX_CLIENTS);
    let mut clients: Vec<ClientSnapshot> = sockets
        .filter_map(|path| match ask(&path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // It was left behind by a client that was killed. Another `adit status` may be faster.
                let _ = std::fs::remove_file(&path);
                None
            }
            answer => answer.ok(),
        })
        .collect();
    clients.sort_by_key(|client| (client.started_at, client.pid));
    clients
}
