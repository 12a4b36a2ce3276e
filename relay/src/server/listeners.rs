//! What a relay listens on.

use super::{admin::administration, error::ServeError, relay::Relay};
use crate::{
    config::Config,
    lanes::Lanes,
    ops::{
        self,
        admin::{self as admin_api},
    },
    proxy,
    public::{
        self,
        listen::{BindError, Listener},
    },
};
use std::{net::SocketAddr, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Addresses that a relay listens on, for its first lines and for tests.
#[derive(Clone, Debug)]
pub struct Bound {
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// HTTP.
    pub http: Vec<SocketAddr>,
    /// TCP ports of tunnels.
    pub tcp: Vec<SocketAddr>,
    /// Links of peers.
    pub peer: Option<SocketAddr>,
    /// `/livez`, `/readyz`, `/metrics`.
    pub ops: Option<SocketAddr>,
}

/// Listeners that do not serve yet.
pub(super) struct Listeners {
    https: Vec<Listener>,
    http: Vec<Listener>,
    tcp: Vec<Listener>,
    peer: Option<Listener>,
    ops: Option<tokio::net::TcpListener>,
}

/// Binds all of them.
pub(super) fn bind(config: &Config, lanes: usize) -> Result<(Listeners, Bound), ServeError> {
    let each = |addresses: &[SocketAddr]| {
        addresses.iter().map(|address| Listener::bind(*address, lanes)).collect::<Result<Vec<_>, _>>()
    };
    let https = each(&config.listen.https)?;
    let http = each(config.listen.http.as_deref().unwrap_or_default())?;
    // Tunnels' ports are open where HTTPS is.
    let ports = config.tcp_ports.map_or(vec![], |range| (range.first..=range.last).collect());
    let tcp_addresses: Vec<_> = config
        .listen
        .https
        .iter()
        .flat_map(|https| ports.iter().map(|port| SocketAddr::new(https.ip(), *port)))
        .collect();
    let tcp = each(&tcp_addresses)?;
    let peer = config.listen.peer.map(|address| Listener::bind(address, lanes)).transpose()?;
    let ops = config.listen.ops.map(bind_one).transpose()?;
    let addresses = |listeners: &[Listener]| listeners.iter().map(|one| one.address).collect();
    let bound = Bound {
        https: addresses(&https),
        http: addresses(&http),
        tcp: addresses(&tcp),
        peer: peer.as_ref().map(|one| one.address),
        ops: ops.as_ref().and_then(|one| one.local_addr().ok()),
    };
    Ok((Listeners { https, http, tcp, peer, ops }, bound))
}

fn bind_one(address: SocketAddr) -> Result<tokio::net::TcpListener, BindError> {
    let failed = |source| BindError { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::TcpListener::from_std(listener).map_err(failed)
}

/// Begins to serve on them.
pub(super) fn serve_all(
    relay: &Arc<Relay>,
    listeners: Listeners,
    lanes: &Lanes,
    stop: &CancellationToken,
) -> Result<(), ServeError> {
    let (closed, health) = (&relay.lifecycle.closed, &relay.telemetry.health);
    for listener in listeners.https {
        let frontend = relay.frontend.clone();
        let serve = move |tcp, remote| public::tls::serve(frontend.clone(), tcp, remote);
        listener.serve(lanes.all(), closed, health, Arc::new(serve));
    }
    for listener in listeners.http {
        let frontend = relay.frontend.clone();
        let serve = move |tcp, remote| public::http::serve(frontend.clone(), tcp, remote);
        listener.serve(lanes.all(), closed, health, Arc::new(serve));
    }
    for listener in listeners.tcp {
        let (frontend, port) = (relay.frontend.clone(), listener.address.port());
        let serve = move |tcp, remote| public::tcp::serve(frontend.clone(), tcp, remote, port);
        listener.serve(lanes.all(), closed, health, Arc::new(serve));
    }
    if let Some(listener) = listeners.peer {
        let proxy = relay.frontend.proxy.clone();
        let serve = move |tcp, remote| proxy::peer::serve(proxy.clone(), tcp, remote);
        listener.serve(lanes.all(), &CancellationToken::new(), health, Arc::new(serve));
    }
    if let Some(listener) = listeners.ops {
        tokio::spawn(ops::serve(listener, health.clone(), relay.telemetry.metrics.clone(), stop.clone()));
    }
    if let Some(path) = &relay.config.listen.admin {
        let admin = administration(&relay.routing, &relay.lifecycle, relay.store.clone());
        let socket = admin_api::AdminSocket::bind(path)?;
        tokio::spawn(admin_api::serve(socket, Arc::new(admin), stop.clone()));
    }
    Ok(())
}
