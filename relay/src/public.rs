//! The listeners that consumers and clients reach.

mod client_hello;
pub(crate) mod http;
pub(crate) mod listen;
mod proxy_protocol;
pub(crate) mod tcp;
pub(crate) mod tls;

use crate::{
    proxy::{Proxy, consumer::connection_limit::ConnectionLimit},
    session::Sessions,
};
use ipnet::IpNet;
use rustls::ServerConfig;
use std::{net::SocketAddr, sync::Arc};

/// What the public listeners share.
pub(crate) struct Frontend {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) sessions: Arc<Sessions>,
    /// TLS with consumers.
    pub(crate) tls: Arc<ServerConfig>,
    /// Limits the connections of consumers.
    pub(crate) connection_limit: Arc<ConnectionLimit>,
    /// Load balancers whose connections begin with a PROXY protocol header.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The port in consumers' URLs in clear.
    pub(crate) plain_port: u16,
}

impl Frontend {
    /// Whether a connection from this address begins with a PROXY protocol header.
    fn trusts_proxy(&self, remote: SocketAddr) -> bool {
        let ip = remote.ip().to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&ip))
    }
}
