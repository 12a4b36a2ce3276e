//! Public TCP ports, each for one tunnel.

use super::{Frontend, proxy_protocol};
use crate::{
    ops::metrics::Count,
    proxy::{
        self,
        consumer::{connection::Prefixed, connection_limit::ConnectionPermit},
    },
};
use adit_mux::splice::Abort;
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long a trusted load balancer may take for its PROXY header.
const HEADER: Duration = Duration::from_secs(10);

/// Serves one connection to the end.
pub(crate) async fn serve(frontend: Arc<Frontend>, mut tcp: TcpStream, remote: SocketAddr, port: u16) {
    let Some(_permit) = frontend.connection_limit.enter().filter(ConnectionPermit::is_inside) else {
        frontend.proxy.telemetry.lane().metrics.count(Count::ConnectionsRefused);
        tcp.abort();
        return;
    };
    if !frontend.trusts_proxy(remote) {
        return proxy::tcp::serve(frontend.proxy.clone(), tcp, remote, port).await;
    }
    let Ok(Ok((behind, rest))) = timeout(HEADER, proxy_protocol::read(&mut tcp)).await else { return };
    let rest: Bytes = rest;
    proxy::tcp::serve(frontend.proxy.clone(), Prefixed::new(rest, tcp), behind.unwrap_or(remote), port).await;
}
