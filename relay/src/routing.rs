//! Where a stream goes: from an endpoint to a session of this relay or to a peer.

pub(crate) mod local;
mod recent_endpoints;
pub(crate) mod route;
pub(crate) mod upstream;

use crate::{
    cluster::{peer::Peers, registry::Registry, table::Row},
    ops::{Component, telemetry::Telemetry},
};
use adit_config::TcpPorts;
use adit_protocol::{Endpoint, Kind, RelayId};
use local::{Local, ServedEndpoint};
use recent_endpoints::RecentEndpoints;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The longest that a session may take from its claim to its first stream; its welcome may take as long.
const MAX_BEGIN_TIME: Duration = Duration::from_secs(5);

/// Who serves which endpoint: here, and in the region.
#[derive(Debug)]
pub(crate) struct Routing {
    /// This relay.
    pub(crate) relay: RelayId,
    /// The region's domain.
    pub(crate) domain: String,
    /// The region's ports for TCP tunnels.
    pub(crate) tcp_ports: Option<TcpPorts>,
    /// The port in consumers' URLs by TLS.
    pub(crate) public_port: u16,
    /// The sessions of this relay.
    pub(crate) local: Local,
    /// Who serves an endpoint in the region.
    pub(crate) registry: Registry,
    /// Whether the registry could be reached at the last beat.
    registry_up: AtomicBool,
    /// Links to peers.
    pub(crate) peers: Peers,
    recent: RecentEndpoints,
    pub(crate) telemetry: Arc<Telemetry>,
}

/// What a relay is known by in its region.
#[derive(Clone, Debug)]
pub(crate) struct RelayIdentity {
    /// The relay.
    pub(crate) relay: RelayId,
    /// The region's domain.
    pub(crate) domain: String,
    /// The region's ports for TCP tunnels.
    pub(crate) tcp_ports: Option<TcpPorts>,
    /// The port in consumers' URLs by TLS.
    pub(crate) public_port: u16,
}

impl Routing {
    /// A relay without sessions.
    pub(crate) fn new(
        identity: RelayIdentity,
        registry: Registry,
        peers: Peers,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let RelayIdentity { relay, domain, tcp_ports, public_port } = identity;
        Self {
            relay,
            domain,
            tcp_ports,
            public_port,
            local: Local::default(),
            registry,
            registry_up: AtomicBool::new(true),
            peers,
            recent: RecentEndpoints::default(),
            telemetry,
        }
    }

    /// Whether the registry could be reached at the last beat.
    pub(crate) fn registry_is_up(&self) -> bool {
        self.registry_up.load(Ordering::Relaxed)
    }

    /// Notes whether the registry could be reached.
    pub(crate) fn set_registry_up(&self, up: bool) {
        if self.registry_up.swap(up, Ordering::Relaxed) != up {
            tracing::warn!(up, "registry state changed");
        }
        self.telemetry.health.report(Component::Registry, (!up).then(|| "cannot be reached".to_owned()));
    }

    /// How many relays of the region are healthy, this one included. One that drains counts: in a rolling restart it will be
    /// back in a moment.
    pub(crate) fn healthy_relays(&self) -> u32 {
        let others = self.registry.table().relays();
        let others = others.iter().filter(|record| record.relay != self.relay).count();
        u32::try_from(others + 1).unwrap_or(u32::MAX)
    }

    /// The region's row of an endpoint.
    pub(crate) fn row(&self, endpoint: &Endpoint) -> Option<Arc<Row>> {
        self.registry.table().row(endpoint)
    }

    /// Who serves an endpoint here, if the region knows that a session of this relay does. A session is claimed before
    /// it can take streams: a request that comes in between waits for it.
    pub(crate) async fn claimed_here(&self, endpoint: &Endpoint) -> Option<Arc<ServedEndpoint>> {
        let row = self.row(endpoint)?;
        if !row.sessions.iter().any(|session| session.relay == self.relay) {
            return None;
        }
        tokio::time::timeout(MAX_BEGIN_TIME, self.local.soon(endpoint)).await.ok()
    }

    /// Whether an endpoint can be one of this region.
    pub(crate) fn is_ours(&self, endpoint: &Endpoint) -> bool {
        let is_subdomain =
            |host: &Arc<str>| host.strip_suffix(&self.domain).is_some_and(|name| name.ends_with('.'));
        let is_in_range = |port: u16| {
            self.port_range(endpoint.kind()).is_some_and(|range| (range.first..=range.last).contains(&port))
        };
        endpoint.as_host().is_some_and(is_subdomain) || endpoint.port().is_some_and(is_in_range)
    }

    /// The region's public ports for tunnels of a kind, if it offers any.
    pub(crate) fn port_range(&self, kind: Kind) -> Option<TcpPorts> {
        match kind {
            Kind::Http => None,
            Kind::Tcp => self.tcp_ports,
        }
    }

    /// Where consumers reach an endpoint.
    pub(crate) fn url(&self, endpoint: &Endpoint) -> String {
        endpoint.url(&self.domain, self.public_port)
    }

    /// Consumers of this endpoint are told that it is offline, for as long as its lease.
    pub(crate) fn remember(&self, endpoint: &Endpoint) {
        self.recent.remember(endpoint);
    }

    /// Whether an endpoint was served here not long ago.
    pub(crate) fn remembers(&self, endpoint: &Endpoint) -> bool {
        self.recent.contains(endpoint)
    }
}
