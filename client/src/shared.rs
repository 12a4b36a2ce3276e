//! What all sessions of a client share.

use crate::{
    address::RelayAddress,
    dial::{proxy::ProxyRules, tls::RelayTls},
    feed::Feed,
    identity::Identity,
    tunnels::Published,
};
use adit_protocol::TunnelId;
use std::sync::Arc;

/// What all sessions of a client share.
pub(crate) struct Shared {
    pub(crate) relay: RelayAddress,
    pub(crate) identity: Identity,
    pub(crate) tls: RelayTls,
    pub(crate) proxy: ProxyRules,
    pub(crate) feed: Feed,
    pub(crate) tunnels: Vec<Arc<Published>>,
}

impl Shared {
    /// The tunnel with this id.
    pub(crate) fn tunnel(&self, id: &TunnelId) -> Option<&Arc<Published>> {
        self.tunnels.iter().find(|tunnel| tunnel.id == *id)
    }
}
