//! One connection to a relay: name to address, address to TCP, TCP to TLS, TLS to the relay's answer.

mod error;
mod hello;
pub(crate) mod proxy;
mod race;
mod resolve;
pub(crate) mod tls;

pub(crate) use error::DialError;
pub(crate) use hello::{DialRequest, RelayIo};

use crate::{
    address::RelayAddress,
    identity::{Identity, PresentedProof},
};
use adit_protocol::Reply;
use error::{CONNECT_TIMEOUT, HELLO_TIMEOUT};
use proxy::ProxyRules;
use std::net::SocketAddr;
use tls::RelayTls;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// Dials the relays of one region.
pub(crate) struct Dialer {
    /// The region.
    pub(crate) relay: RelayAddress,
    pub(crate) tls: RelayTls,
    pub(crate) proxy: ProxyRules,
}

/// A relay's answer, and the connection that it came on.
pub(crate) struct DialReply {
    pub(crate) io: RelayIo,
    pub(crate) reply: Reply,
    pub(crate) presented: PresentedProof,
}

impl Dialer {
    /// Dials a relay of the region and says hello. Each step is logged at debug level, for `adit -v`.
    pub(crate) async fn dial(
        &self,
        identity: &Identity,
        request: DialRequest,
    ) -> Result<DialReply, DialError> {
        let presented = identity.present().await.map_err(|problem| DialError::Token(Box::new(problem)))?;
        let tcp = timeout(CONNECT_TIMEOUT, self.connect()).await.map_err(|_| DialError::ConnectTimeout)??;
        // A system that refuses makes nothing but a slower session.
        let _ = adit_mux::socket::configure(&tcp);
        timeout(HELLO_TIMEOUT, async {
            let start = Instant::now();
            let mut io = self.tls.connect(&self.relay.host(), tcp).await?;
            tracing::debug!(host = self.relay.host(), ms = elapsed_ms(start), "TLS 1.3 established");
            let start = Instant::now();
            let reply = hello::exchange(&mut io, identity, &presented, request).await;
            let reply = reply.map_err(DialError::Hello)?;
            tracing::debug!(reply = reply_name(&reply), ms = elapsed_ms(start), "hello answered");
            Ok(DialReply { reply, io, presented })
        })
        .await
        .map_err(|_| DialError::HelloTimeout)?
    }

    async fn connect(&self) -> Result<TcpStream, DialError> {
        let (host, port) = (self.relay.host(), self.relay.port());
        let Some(proxy) = self.proxy.for_host(&host, port) else {
            return connect_tcp(&host, port, self.relay.is_local()).await;
        };
        let tcp = connect_tcp(&proxy.host, proxy.port, false).await?;
        let tcp = proxy.open(tcp, &host, port).await.map_err(DialError::Proxy)?;
        tracing::debug!(proxy = proxy.host, host, "proxy connected");
        Ok(tcp)
    }
}

async fn connect_tcp(host: &str, port: u16, is_local: bool) -> Result<TcpStream, DialError> {
    let start = Instant::now();
    let addresses = resolve::resolve(host, port, is_local).await?;
    tracing::debug!(host, addresses = join(&addresses), ms = elapsed_ms(start), "resolved");
    let start = Instant::now();
    let tcp = race::connect(&addresses)
        .await
        .map_err(|source| DialError::Connect { host: host.to_owned(), source })?;
    if let Ok(address) = tcp.peer_addr() {
        tracing::debug!(address = address.to_string(), ms = elapsed_ms(start), "TCP connected");
    }
    Ok(tcp)
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
}

fn elapsed_ms(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn reply_name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Welcome(_) => "welcome",
        Reply::Elsewhere(_) => "elsewhere",
        Reply::Refused(_) => "refused",
    }
}
