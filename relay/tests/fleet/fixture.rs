//! The region that every test here has for itself.

pub(crate) use crate::{
    clients::{client_of, client_without_token, http_tunnel, until_open},
    relay_fixture::HOST,
};
use adit::Client;
use adit_testkit::{fleet::RelayFleet, http::Service, postgres::Postgres, region::TestRegion, wait::until};
use std::ops::{Deref, DerefMut};

/// Three relays with a client and its service. Fields are dropped in this order.
pub(crate) struct FleetFixture {
    pub(crate) client: Option<Client>,
    fleet: RelayFleet,
    pub(crate) service: Service,
}

impl Deref for FleetFixture {
    type Target = RelayFleet;

    fn deref(&self) -> &RelayFleet {
        &self.fleet
    }
}

impl DerefMut for FleetFixture {
    fn deref_mut(&mut self) -> &mut RelayFleet {
        &mut self.fleet
    }
}

impl FleetFixture {
    /// Relays with a client of the account `ci` that serves [`HOST`]. Their store is a database of the server that all
    /// tests share.
    pub(crate) async fn start() -> Self {
        let fixture = Self::with_unused_links().await;
        fixture.until_served(HOST).await;
        fixture
    }

    /// As [`FleetFixture::start`], before any request has gone from one relay to another. The third relay may not know
    /// the tunnel yet.
    pub(crate) async fn with_unused_links() -> Self {
        Self::empty("").await.with_client().await
    }

    /// As [`FleetFixture::start`], with relays of one lane: a client has one session with each of two relays, and the
    /// third has none.
    pub(crate) async fn of_one_lane(store: String) -> Self {
        let fixture = Self::with_store(store, "lanes: 1").await.with_client().await;
        fixture.until_served(HOST).await;
        fixture
    }

    /// Relays without clients, with these lines in their configuration.
    pub(crate) async fn empty(yaml: &str) -> Self {
        Self::with_store(Postgres::shared().database(), yaml).await
    }

    async fn with_client(mut self) -> Self {
        self.client = Some(self.client("ci", "shop").await);
        self.until_two_relays_have_sessions().await;
        self
    }

    async fn with_store(store: String, yaml: &str) -> Self {
        let region = TestRegion::new(env!("CARGO_BIN_EXE_adit-relay")).with(yaml).store(store).with(
            "limits: {requestsPerSecond: 100000, streams: 10000, names: 100000, tunnels: 1000, sessions: 1000}\n\
             drainTimeout: 20s",
        );
        let fleet = RelayFleet::start(region, &["a", "b", "c"]).await;
        Self { client: None, fleet, service: Service::start().await }
    }

    /// Starts a client that serves a name with this region's service, and waits until its tunnel is open.
    pub(crate) async fn client(&self, account: &str, name: &str) -> Client {
        let tunnel = http_tunnel(self.service.address(), name);
        let client = client_of(self, account, &[]).tunnel(tunnel).start();
        let client = client.expect("the client's settings are right");
        until_open(&client).await;
        client
    }

    /// Waits until clients have sessions with two relays.
    pub(crate) async fn until_two_relays_have_sessions(&self) {
        until("two relays have sessions", || self.relays_with_sessions().len() >= 2).await;
    }
}
