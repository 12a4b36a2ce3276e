//! What the admin API shows of a relay, and does to it.

use crate::{
    ops::{
        admin::{Admin, SessionView, TunnelView},
        lifecycle::Lifecycle,
    },
    routing::{
        Routing,
        local::{Command, Local, ServedEndpoint, Session},
    },
};
use adit_protocol::{Code, SessionId, ToClient};
use adit_store::Store;
use std::sync::Arc;

/// What the admin API sees and does.
pub(super) fn administration(routing: &Arc<Routing>, lifecycle: &Arc<Lifecycle>, store: Store) -> Admin {
    let (sessions, tunnels, close) = (routing.clone(), routing.clone(), routing.clone());
    let lifecycle = lifecycle.clone();
    Admin {
        sessions: Box::new(move || session_views(&sessions.local)),
        tunnels: Box::new(move || tunnel_views(&tunnels)),
        close_session: Box::new(move |id| close_session(&close.local, id)),
        store,
        drain: Box::new(move || lifecycle.drain_requested.notify_one()),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The sessions of this relay.
fn session_views(local: &Local) -> Vec<SessionView> {
    local.sessions().iter().map(|session| session_view(local, session)).collect()
}

fn session_view(local: &Local, session: &Session) -> SessionView {
    let endpoints = session.endpoints();
    let served = endpoints.iter().filter_map(|endpoint| local.endpoint(endpoint));
    SessionView {
        session: session.id.clone(),
        account: session.account.clone(),
        instance: session.instance.clone(),
        client_version: session.client_version.clone(),
        address: session.remote.to_string(),
        lane: u16::try_from(session.lane).unwrap_or(u16::MAX),
        tunnels: served.map(|served| served.tunnel.clone()).collect(),
        streams: count(session.streams()),
        opened_at: session.since,
        expires_at: session.expires(),
    }
}

/// The tunnels that sessions of this relay serve.
fn tunnel_views(routing: &Routing) -> Vec<TunnelView> {
    let view = |served: &Arc<ServedEndpoint>| TunnelView {
        tunnel: served.tunnel.clone(),
        endpoint: served.endpoint.clone(),
        url: routing.url(&served.endpoint),
        kind: served.endpoint.kind(),
        account: served.account.clone(),
        generation: served.generation,
        sessions: served.sessions.iter().map(|session| session.id.clone()).collect(),
        streams: count(served.sessions.iter().map(|session| session.streams()).sum()),
        opened_at: served.since,
    };
    routing.local.endpoints().iter().map(view).collect()
}

/// Ends one session; answers whether there is one of this id. Its client may come back.
fn close_session(local: &Local, id: &SessionId) -> bool {
    let Some(session) = local.session(id) else { return false };
    session.command(Command::Close(ToClient::close(Code::Draining, "closed by the relay's operator")))
}
