//! The state of a session that a relay has welcomed.

use super::{SessionEnd, SessionSetup, stream_limit::StreamLimit};
use crate::local::LocalService;
use adit_protocol::{OpenedTunnel, TunnelId};
use adit_system::POISONED;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, RwLock},
};
use tokio::sync::Notify;

/// A session that has been welcomed.
pub(super) struct Session {
    pub(super) setup: SessionSetup,
    /// The tunnels that streams of this session may be for.
    routes: RwLock<HashMap<String, Arc<LocalService>>>,
    pub(super) streams: Arc<StreamLimit>,
    /// Why it ends; the first reason counts.
    end: Mutex<Option<SessionEnd>>,
    pub(super) finish: Notify,
}

impl Session {
    /// No tunnel is served yet.
    pub(super) fn new(setup: SessionSetup) -> Arc<Self> {
        Arc::new(Self {
            setup,
            routes: RwLock::default(),
            streams: Arc::default(),
            end: Mutex::default(),
            finish: Notify::new(),
        })
    }

    /// Ends the session at once, for this reason unless there is one already.
    pub(super) fn end(&self, end: SessionEnd) {
        self.end.lock().expect(POISONED).get_or_insert(end);
        self.setup.cut.cancel();
    }

    /// Why it has ended, once it has.
    pub(super) fn end_reason(&self) -> SessionEnd {
        self.end.lock().expect(POISONED).clone().unwrap_or(SessionEnd::Left)
    }

    /// The service of a tunnel that this session serves.
    pub(super) fn service(&self, tunnel: &str) -> Option<Arc<LocalService>> {
        self.routes.read().expect(POISONED).get(tunnel).cloned()
    }

    /// Serves no more streams for any tunnel.
    pub(super) fn unroute_all(&self) {
        let routes = std::mem::take(&mut *self.routes.write().expect(POISONED));
        for local in routes.values() {
            local.tunnel.remove_session();
        }
    }

    /// Serves streams for this tunnel from now on.
    pub(super) fn route(&self, opened: &OpenedTunnel) {
        let Some(tunnel) = self.setup.context.tunnel(&opened.tunnel) else { return };
        let local = self.setup.lane.service_of(tunnel);
        let before = self.routes.write().expect(POISONED).insert(opened.tunnel.to_string(), local);
        if before.is_some() {
            tunnel.remove_session();
        }
        tunnel.add_session(opened);
    }

    /// Serves no more streams for this tunnel.
    pub(super) fn unroute(&self, tunnel: &TunnelId) {
        if let Some(local) = self.routes.write().expect(POISONED).remove(tunnel.as_str()) {
            local.tunnel.remove_session();
        }
    }
}
