//! Public TCP ports, each for one tunnel.

use super::{connection::Prefixed, proxy_protocol, room};
use crate::{metrics::Count, proxy, relay::Relay};
use adit_mux::splice::Abort;
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long a trusted load balancer may take for its PROXY header.
const HEADER: Duration = Duration::from_secs(10);

/// Serves one connection to the end.
pub async fn serve(relay: Arc<Relay>, mut tcp: TcpStream, remote: SocketAddr, port: u16) {
    let Some(_place) = relay.room.enter().filter(room::Place::is_inside) else {
        relay.seat().metrics.count(Count::ConnectionsRefused);
        tcp.abort();
        return;
    };
    if !relay.trusts_proxy(remote) {
        return proxy::tcp::serve(relay, tcp, remote, port).await;
    }
    let Ok(Ok((behind, rest))) = timeout(HEADER, proxy_protocol::read(&mut tcp)).await else { return };
    let rest: Bytes = rest;
    proxy::tcp::serve(relay, Prefixed::new(rest, tcp), behind.unwrap_or(remote), port).await;
}
