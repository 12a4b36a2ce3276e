//! What the admin API shows of a relay.

use super::Relay;
use crate::{
    ops::admin::{SessionView, TunnelView},
    routing::local::{Command, Session},
    session::run::close,
};
use adit_protocol::{Code, SessionId};

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Relay {
    /// The sessions of this relay.
    pub fn session_views(&self) -> Vec<SessionView> {
        self.local.sessions().iter().map(|session| self.session_view(session)).collect()
    }

    fn session_view(&self, session: &Session) -> SessionView {
        let endpoints = session.endpoints();
        let served = endpoints.iter().filter_map(|endpoint| self.local.endpoint(endpoint));
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
    pub fn tunnel_views(&self) -> Vec<TunnelView> {
        let view = |served: &std::sync::Arc<crate::routing::local::ServedEndpoint>| TunnelView {
            tunnel: served.tunnel.clone(),
            endpoint: served.endpoint.clone(),
            url: self.url(&served.endpoint),
            kind: served.endpoint.kind(),
            account: served.account.clone(),
            generation: served.generation,
            sessions: served.sessions.iter().map(|session| session.id.clone()).collect(),
            streams: count(served.sessions.iter().map(|session| session.streams()).sum()),
            opened_at: served.since,
        };
        self.local.endpoints().iter().map(view).collect()
    }

    /// Ends one session; answers whether there is one of this id. Its client may come back.
    pub fn close_session(&self, id: &SessionId) -> bool {
        let Some(session) = self.local.session(id) else { return false };
        session.command(Command::Close(close(Code::Draining, "closed by the relay's operator")))
    }
}
