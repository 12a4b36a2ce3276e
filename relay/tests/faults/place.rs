//! The relay that every test here has for itself.

use adit::{Tunnel, tunnel::TunnelBuilder};
use adit_testkit::{
    http::{Consumer, Service},
    region::{DOMAIN, Region, Relay},
    wait::until,
};

/// The host of the tunnel that [`Place::http`] opens.
pub(crate) const HOST: &str = "shop.adit.localhost";

/// Everything that one test needs; what is dropped first stands first.
pub(crate) struct Place {
    pub(crate) relay: Relay,
    pub(crate) region: Region,
    pub(crate) service: Service,
}

/// What must be the same again once everything is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    streams: u64,
    connections: u64,
    buffered: u64,
    sessions_closed: u64,
}

impl Place {
    /// A relay with these lines in its configuration, and a service.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::in_region(Region::new(env!("CARGO_BIN_EXE_adit-relay")).with(yaml)).await
    }

    /// The relay of a region.
    pub(crate) async fn in_region(region: Region) -> Self {
        let relay = region.start("a");
        Self { relay, region, service: Service::start().await }
    }

    /// Describes a tunnel of the account `ci`.
    pub(crate) fn tunnel(&self, builder: TunnelBuilder) -> TunnelBuilder {
        self.tunnel_of("ci", builder)
    }

    /// Describes a tunnel of an account.
    pub(crate) fn tunnel_of(&self, account: &str, builder: TunnelBuilder) -> TunnelBuilder {
        builder
            .relay(format!("{DOMAIN}:{}", self.relay.https().port()))
            .token(self.region.token(&self.relay, account, &["--kinds", "http,tcp"]))
            .ca(self.region.ca())
    }

    /// Opens [`HOST`] for the service.
    pub(crate) async fn http(&self) -> Tunnel {
        let builder = Tunnel::http(self.service.address().to_string()).name("shop");
        self.tunnel(builder).open().await.expect("the tunnel opens")
    }

    /// Opens a TCP tunnel to the service. Answers with its public port.
    pub(crate) async fn tcp(&self) -> (Tunnel, u16) {
        let builder = Tunnel::tcp(self.service.address().to_string());
        let tunnel = self.tunnel(builder).open().await.expect("the tunnel opens");
        let port = tunnel.url().rsplit(':').next().unwrap().parse().unwrap();
        (tunnel, port)
    }

    /// A consumer in clear.
    pub(crate) fn consumer(&self) -> Consumer {
        Consumer::plain(self.relay.http())
    }

    /// A consumer by TLS that offers one protocol.
    pub(crate) fn secure(&self, alpn: &[u8]) -> Consumer {
        Consumer::tls(self.relay.https(), HOST, &self.region.ca(), &[alpn])
    }

    /// How many sessions have ended.
    pub(crate) fn sessions_closed(&self) -> u64 {
        self.relay.metric("adit_sessions_closed_total")
    }

    /// How many connections the client has with the service, as proc(5) says. (The service itself does not look at
    /// connections on which it has nothing to say: for it they may end later.)
    pub(crate) fn service_connections(&self) -> usize {
        let service = format!("{:04X}", self.service.port());
        let established = |line: &&str| {
            let mut columns = line.split_whitespace().skip(2);
            let remote = columns.next().is_some_and(|remote| remote.ends_with(&service));
            remote && columns.next() == Some("01")
        };
        std::fs::read_to_string("/proc/net/tcp").unwrap().lines().filter(established).count()
    }

    /// What the relay holds for consumers now.
    pub(crate) fn held(&self) -> Held {
        Held {
            streams: self.relay.metric("adit_streams_open"),
            connections: self.relay.metric("adit_connections_open"),
            buffered: self.relay.metric("adit_buffered_bytes"),
            sessions_closed: self.sessions_closed(),
        }
    }

    /// Waits until the relay holds again what it held before, and checks that no session has ended.
    pub(crate) async fn is_back_to(&self, before: &Held) {
        until(&format!("the relay is back to {before:?}"), || self.held() == *before).await;
    }

    /// Asks for something small so many times, each on a connection of its own.
    pub(crate) async fn answers(&self, times: usize) {
        for _ in 0..times {
            let answer = self.consumer().get(HOST, "/bytes/1000").await.expect("an answer");
            assert_eq!((answer.status, answer.body.len()), (200, 1000), "{}", answer.text());
        }
    }
}
