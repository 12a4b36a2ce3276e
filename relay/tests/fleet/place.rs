//! The region that every test here has for itself.

use adit::{Client, ClientBuilder, TunnelSpec, service::Service as Address};
use adit_protocol::Kind;
use adit_testkit::{
    balancer::Balancer,
    http::{Consumer, Service},
    postgres::Postgres,
    redis::Redis,
    region::{DOMAIN, Region, Relay},
    wait::until,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The host of the tunnel that every region begins with.
pub(crate) const HOST: &str = "shop.adit.localhost";

/// Everything that one test needs; what is dropped first stands first.
pub(crate) struct Fleet {
    pub(crate) client: Option<Client>,
    pub(crate) balancer: Balancer,
    pub(crate) relays: Vec<Relay>,
    pub(crate) region: Region,
    pub(crate) redis: Redis,
    pub(crate) service: Service,
}

impl Fleet {
    /// A region with a client of the account `ci` that serves [`HOST`]. Its store is a database of the server that all
    /// tests share.
    pub(crate) async fn start() -> Self {
        let fleet = Self::with_unused_links().await;
        fleet.is_served_everywhere(HOST).await;
        fleet
    }

    /// The same before any request has gone from one relay to another. The third relay may not know the tunnel yet.
    pub(crate) async fn with_unused_links() -> Self {
        Self::empty("").await.with_client().await
    }

    /// The same with relays of one lane: a client has one session with each of two relays, and the third has none.
    pub(crate) async fn of_one_lane(store: String) -> Self {
        let fleet = Self::with_store(store, "lanes: 1").await.with_client().await;
        fleet.is_served_everywhere(HOST).await;
        fleet
    }

    /// A region that nobody uses yet, with these lines in its relays' configuration.
    pub(crate) async fn empty(lines: &str) -> Self {
        Self::with_store(Postgres::shared().database(), lines).await
    }

    async fn with_client(mut self) -> Self {
        self.client = Some(self.client("ci", "shop").await);
        self.wait("the client has two relays", |fleet| fleet.homes().len() >= 2).await;
        self
    }

    async fn with_store(store: String, lines: &str) -> Self {
        let redis = Redis::start();
        let region =
            Region::new(env!("CARGO_BIN_EXE_adit-relay")).with(lines).registry(redis.url()).store(store).with(
                "limits: {requestsPerSecond: 100000, streams: 10000, names: 100000, tunnels: 1000, sessions: 1000}\n\
                 drainTimeout: 20s",
            );
        let mut relays: Vec<Relay> = ["a", "b", "c"].map(|name| region.spawn(name)).into();
        for relay in &mut relays {
            relay.wait_ready();
        }
        let balancer = Balancer::start(&relays.iter().collect::<Vec<_>>());
        let service = Service::start().await;
        let fleet = Self { client: None, balancer, relays, region, redis, service };
        let all_known = |fleet: &Self| fleet.relays.iter().all(|relay| relay.metric("adit_relays") == 3);
        fleet.wait("every relay knows the others", all_known).await;
        fleet
    }

    /// A client of an account with nothing to publish yet; it dials through the load balancer.
    pub(crate) fn builder(&self, account: &str, more: &[&str]) -> ClientBuilder {
        let token = self.region.token(&self.relays[0], account, more);
        self.without_token().token(token)
    }

    /// The same without anything to show who it is.
    pub(crate) fn without_token(&self) -> ClientBuilder {
        Client::builder().relay(format!("{DOMAIN}:{}", self.balancer.https().port())).ca(self.region.ca())
    }

    /// A tunnel of this name to a service.
    pub(crate) fn http(service: &Service, name: &str) -> TunnelSpec {
        let address = Address::parse(Kind::Http, &service.address().to_string()).expect("an address");
        let mut spec = TunnelSpec::new(address);
        spec.name = Some(name.to_owned());
        spec
    }

    /// A client that serves a name with this region's service.
    pub(crate) async fn client(&self, account: &str, name: &str) -> Client {
        let client = self.builder(account, &[]).tunnel(Self::http(&self.service, name)).start();
        let client = client.expect("the client's settings are right");
        self.has_url(&client).await;
        client
    }

    /// Waits until a client's tunnel is open.
    pub(crate) async fn has_url(&self, client: &Client) -> String {
        let tunnel = client.tunnels()[0].clone();
        until("the tunnel has a URL", || client.url(&tunnel).is_some()).await;
        client.url(&tunnel).expect("it has one now")
    }

    /// Waits until every relay serves a host: one without a session of the client hears of it a moment later.
    pub(crate) async fn is_served_everywhere(&self, host: &str) {
        for relay in &self.relays {
            let consumer = Consumer::plain(relay.http());
            let end = Instant::now() + Duration::from_secs(60);
            while consumer.get(host, "/").await.map_or(0, |answer| answer.status) != 200 {
                assert!(Instant::now() < end, "{} does not serve {host}", relay.name);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Waits until the load balancer sends consumers to a relay.
    pub(crate) async fn is_balanced_to(&self, index: usize) {
        let (consumer, end) =
            (Consumer::plain(self.balancer.http()), Instant::now() + Duration::from_secs(60));
        let taken = || self.relays[index].metric("adit_connections_total");
        let before = taken();
        while taken() == before {
            assert!(Instant::now() < end, "{} gets no connection", self.relays[index].name);
            consumer.get(HOST, "/").await.unwrap();
        }
    }

    /// The relays that have sessions of clients.
    pub(crate) fn homes(&self) -> Vec<usize> {
        let has = |index: &usize| self.relays[*index].metric("adit_sessions_open") > 0;
        (0..self.relays.len()).filter(has).collect()
    }

    /// A relay without any session: what enters there goes through a peer.
    pub(crate) fn stranger(&self) -> usize {
        let homes = self.homes();
        (0..self.relays.len()).find(|index| !homes.contains(index)).expect("a relay without a session")
    }

    pub(crate) async fn wait(&self, what: &str, state: impl Fn(&Self) -> bool) {
        until(what, || state(self)).await;
    }

    /// Where consumers reach all relays but one.
    pub(crate) fn entries(&self, except: usize) -> Vec<SocketAddr> {
        let others = self.relays.iter().enumerate().filter(|(index, _)| *index != except);
        others.map(|(_, relay)| relay.http()).collect()
    }
}
