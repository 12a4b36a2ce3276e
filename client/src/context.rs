//! The parts of a client that all of its sessions use.

use crate::{dial::Dialer, event_queue::EventQueue, identity::Identity, published::PublishedTunnel};
use adit_protocol::TunnelId;
use std::sync::Arc;

/// The parts of a client that all of its sessions use.
pub(crate) struct ClientContext {
    pub(crate) dialer: Dialer,
    pub(crate) identity: Identity,
    pub(crate) event_queue: EventQueue,
    pub(crate) tunnels: Vec<Arc<PublishedTunnel>>,
}

impl ClientContext {
    /// The tunnel with this id.
    pub(crate) fn tunnel(&self, id: &TunnelId) -> Option<&Arc<PublishedTunnel>> {
        self.tunnels.iter().find(|tunnel| tunnel.id == *id)
    }
}
