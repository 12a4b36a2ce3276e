//! What a running client says of itself: one JSON object on its socket.

use super::super::state::State;
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
pub(in crate::cli) const VERSION: u32 = 1;
/// How long a client has to answer: it is on this computer.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most bytes that are read of one client.
const MAX_BYTES: u64 = 1024 * 1024;
/// The most clients that are asked.
const MAX_CLIENTS: usize = 256;

/// A running client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Client {
    pub(in crate::cli) v: u32,
    pub(in crate::cli) pid: u32,
    pub(in crate::cli) version: String,
    pub(in crate::cli) started_at: Time,
    /// The region's domain.
    pub(in crate::cli) region: String,
    /// Where it was started.
    pub(in crate::cli) directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) config: Option<String>,
    pub(in crate::cli) state: ClientState,
    /// When this state began.
    pub(in crate::cli) since: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) reason: Option<String>,
    pub(in crate::cli) sessions: Vec<Session>,
    pub(in crate::cli) tunnels: Vec<Tunnel>,
}

/// One session of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Session {
    pub(in crate::cli) session: String,
    pub(in crate::cli) relay: String,
    pub(in crate::cli) state: event::SessionState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) latency_ms: Option<u64>,
}

/// One tunnel of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Tunnel {
    pub(in crate::cli) tunnel: TunnelId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) name: Option<String>,
    pub(in crate::cli) kind: Kind,
    pub(in crate::cli) service: String,
    pub(in crate::cli) enabled: bool,
    pub(in crate::cli) state: TunnelState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) name_granted: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) code: Option<Code>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) reason: Option<String>,
    pub(in crate::cli) since: Time,
}

/// What stays the same while a client runs.
#[derive(Clone, Debug)]
pub(in crate::cli) struct About {
    pub(in crate::cli) started_at: Time,
    pub(in crate::cli) region: String,
    pub(in crate::cli) directory: String,
    pub(in crate::cli) config: Option<String>,
}

impl Client {
    /// This client as it is now.
    pub(in crate::cli) fn of(about: &About, state: &State) -> Self {
        let sessions = state.sessions.iter().map(|(id, session)| Session {
            session: id.to_string(),
            relay: session.relay.clone(),
            state: session.state,
            latency_ms: session.latency_ms,
        });
        let tunnels = state.tunnels.iter().map(|tunnel| Tunnel {
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
            started_at: about.started_at,
            region: about.region.clone(),
            directory: about.directory.clone(),
            config: about.config.clone(),
            state: state.client,
            since: state.since,
            reason: state.reason.clone(),
            sessions: sessions.collect(),
            tunnels: tunnels.collect(),
        }
    }
}

/// The socket of the client that is this process.
pub(in crate::cli) fn socket(folder: &Path, pid: u32) -> PathBuf {
    folder.join(format!("{pid}.sock"))
}

/// Asks one client; `None` if it does not answer.
pub(in crate::cli) fn read(socket: &Path) -> Option<Client> {
    ask(socket).ok()
}

fn ask(socket: &Path) -> io::Result<Client> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Asks all clients whose sockets are in a folder, the oldest first. Sockets that nobody listens on are taken away.
pub(in crate::cli) fn read_all(folder: &Path) -> Vec<Client> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let sockets = entries.filter(|path| path.extension().is_some_and(|e| e == "sock")).take(MAX_CLIENTS);
    let mut clients: Vec<Client> = sockets
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
