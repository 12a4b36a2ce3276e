//! From the endpoint that a consumer has opened to the sessions that serve it.

use super::{Routing, local::ServedEndpoint};
use crate::{
    accounts::{AccountUsage, Accounts},
    auth::LiveConfig,
    cluster::{peer::ask, table::Row},
};
use adit_protocol::{Account, Endpoint, TunnelId, TunnelOptions};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// Where a request can go.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Sessions of this relay serve the endpoint; those of other relays may too.
    Here(Arc<ServedEndpoint>),
    /// Only sessions of other relays serve it.
    There(Arc<Row>),
}

/// Why a request can go nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// The endpoint is known, but no session serves it now.
    Offline,
    /// Nothing is published there.
    Unknown,
}

/// The route for an endpoint. A host name has to be in lower case, without a final dot, without a port.
///
/// # Errors
/// [`NoRoute`].
pub(crate) async fn find(routing: &Routing, endpoint: Endpoint) -> Result<Route, NoRoute> {
    if let Some(served) = routing.local.endpoint(&endpoint) {
        return Ok(Route::Here(served));
    }
    elsewhere(routing, endpoint).await
}

/// Where an endpoint is served that no session of this relay serves yet. While the registry is away its table may lack
/// what peers serve: they are asked.
async fn elsewhere(routing: &Routing, endpoint: Endpoint) -> Result<Route, NoRoute> {
    if let Some(served) = routing.claimed_here(&endpoint).await {
        return Ok(Route::Here(served));
    }
    if let Some(row) = routing.row(&endpoint) {
        return Ok(Route::There(row));
    }
    if !routing.is_ours(&endpoint) {
        return Err(NoRoute::Unknown);
    }
    if !routing.registry_is_up()
        && let Some(row) = ask::ask(&routing.peers, &endpoint).await
    {
        return Ok(Route::There(row));
    }
    Err(if routing.remembers(&endpoint) { NoRoute::Offline } else { NoRoute::Unknown })
}

impl Route {
    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Here(served) => &served.endpoint,
            Self::There(row) => &row.endpoint,
        }
    }

    /// Who serves it.
    pub(crate) fn account(&self) -> &Account {
        match self {
            Self::Here(served) => &served.account,
            Self::There(row) => &row.account,
        }
    }

    /// What the account that serves it uses here.
    pub(crate) fn usage(&self, accounts: &Accounts, live: &ArcSwap<LiveConfig>) -> Arc<AccountUsage> {
        match self {
            Self::Here(served) => served.usage.clone(),
            Self::There(row) => accounts.visit(&row.account, &live.load().limits),
        }
    }

    /// The client's id for the tunnel.
    pub(crate) fn tunnel(&self) -> &TunnelId {
        match self {
            Self::Here(served) => &served.tunnel,
            Self::There(row) => &row.tunnel,
        }
    }

    /// The tunnel's options, wherever its sessions are.
    #[cfg_attr(not(test), expect(dead_code, reason = "no option is defined yet; the first is read here"))]
    pub(crate) fn options(&self) -> &TunnelOptions {
        match self {
            Self::Here(served) => &served.options,
            Self::There(row) => &row.options,
        }
    }
}
