//! From a consumer's Host to an endpoint.

use crate::{cluster::table::Row, routing::local::ServedEndpoint, server::relay::Relay};
use adit_protocol::{Account, Endpoint, TunnelId};
use std::sync::Arc;

/// Where a request can go.
#[derive(Clone, Debug)]
pub enum Route {
    /// Sessions of this relay serve the endpoint; those of other relays may too.
    Here(Arc<ServedEndpoint>),
    /// Only sessions of other relays serve it.
    There(Arc<Row>),
}

/// Why a request can go nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The endpoint is known, but no session serves it now.
    Offline,
    /// Nothing is published there.
    Unknown,
}

/// The route for a host name: lower case, without a final dot, without a port.
///
/// # Errors
/// [`NoRoute`].
pub async fn host(relay: &Relay, host: &Arc<str>) -> Result<Route, NoRoute> {
    if let Some(served) = relay.local.host(host) {
        return Ok(Route::Here(served));
    }
    elsewhere(relay, Endpoint::Host(host.clone())).await
}

/// The route for a public TCP port.
///
/// # Errors
/// [`NoRoute`].
pub async fn port(relay: &Relay, port: u16) -> Result<Route, NoRoute> {
    if let Some(served) = relay.local.port(port) {
        return Ok(Route::Here(served));
    }
    elsewhere(relay, Endpoint::Tcp(port)).await
}

/// Where an endpoint is served that no session of this relay serves yet. While the registry is away its table may lack
/// what peers serve: they are asked.
async fn elsewhere(relay: &Relay, endpoint: Endpoint) -> Result<Route, NoRoute> {
    if let Some(served) = relay.claimed_here(&endpoint).await {
        return Ok(Route::Here(served));
    }
    if let Some(row) = relay.row(&endpoint) {
        return Ok(Route::There(row));
    }
    if !relay.is_ours(&endpoint) {
        return Err(NoRoute::Unknown);
    }
    if !relay.registry_is_up()
        && let Some(row) = relay.peers.ask(&endpoint).await
    {
        return Ok(Route::There(row));
    }
    Err(if relay.remembers(&endpoint) { NoRoute::Offline } else { NoRoute::Unknown })
}

impl Route {
    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Here(served) => &served.endpoint,
            Self::There(row) => &row.endpoint,
        }
    }

    /// Who serves it.
    pub fn account(&self) -> &Account {
        match self {
            Self::Here(served) => &served.account,
            Self::There(row) => &row.account,
        }
    }

    /// The client's id for the tunnel.
    pub fn tunnel(&self) -> &TunnelId {
        match self {
            Self::Here(served) => &served.tunnel,
            Self::There(row) => &row.tunnel,
        }
    }
}
