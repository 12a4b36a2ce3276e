//! Several relays of one region behind a load balancer.

use crate::{
    http::Consumer,
    load_balancer::LoadBalancer,
    redis::Redis,
    region::{RelayProcess, TestRegion},
    wait::{until, until_async, until_ok},
};
use std::net::SocketAddr;

/// The relays of a region, their load balancer and a Redis of their own. Fields are dropped in this order.
#[derive(Debug)]
pub struct RelayFleet {
    /// The load balancer in front of all relays.
    pub balancer: LoadBalancer,
    /// The relays, in the order in which they were named.
    pub relays: Vec<RelayProcess>,
    /// What the relays share.
    pub region: TestRegion,
    /// The region's registry.
    pub redis: Redis,
}

impl RelayFleet {
    /// Starts relays of these names in a region, and waits until each of them knows all others.
    pub async fn start(region: TestRegion, names: &[&str]) -> Self {
        let redis = Redis::start();
        let region = region.registry(redis.url());
        let mut relays: Vec<RelayProcess> = names.iter().map(|name| region.spawn(name)).collect();
        relays.iter_mut().for_each(RelayProcess::wait_ready);
        let balancer = LoadBalancer::start(&relays.iter().collect::<Vec<_>>());
        let fleet = Self { balancer, relays, region, redis };
        let count = names.len() as u64;
        until("every relay knows the others", || {
            fleet.relays.iter().all(|relay| relay.metric("adit_relays") == count)
        })
        .await;
        fleet
    }

    /// Starts a relay again that has ended, and waits until it is ready.
    pub fn restart(&mut self, index: usize) {
        self.region.restart(&mut self.relays[index]);
    }

    /// `DOMAIN:PORT` of the load balancer, for clients.
    pub fn relay_address(&self) -> String {
        format!("{}:{}", self.region.domain(), self.balancer.https().port())
    }

    /// The host name under which a tunnel of this name is served.
    pub fn host(&self, name: &str) -> String {
        format!("{name}.{}", self.region.domain())
    }

    /// Number of clients' sessions of each relay.
    pub fn sessions(&self) -> Vec<u64> {
        self.relays.iter().map(|relay| relay.metric("adit_sessions_open")).collect()
    }

    /// Indices of the relays that have sessions of clients.
    pub fn relays_with_sessions(&self) -> Vec<usize> {
        let sessions = self.sessions();
        (0..sessions.len()).filter(|index| sessions[*index] > 0).collect()
    }

    /// Index of a relay without any session: its requests go through a peer.
    ///
    /// Panics when every relay has a session.
    pub fn relay_without_session(&self) -> usize {
        let sessions = self.sessions();
        sessions.iter().position(|count| *count == 0).expect("a relay without a session")
    }

    /// Where consumers reach every relay in clear.
    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        self.relays.iter().map(RelayProcess::http).collect()
    }

    /// Where consumers reach every relay but one in clear.
    pub fn http_addresses_except(&self, index: usize) -> Vec<SocketAddr> {
        let mut addresses = self.http_addresses();
        addresses.remove(index);
        addresses
    }

    /// The status with which each relay answers for a host; 0 without an answer.
    pub async fn statuses(&self, host: &str) -> Vec<u16> {
        let mut statuses = vec![];
        for relay in &self.relays {
            let answer = Consumer::plain(relay.http()).get(host, "/").await;
            statuses.push(answer.map_or(0, |answer| answer.status));
        }
        statuses
    }

    /// Waits until every relay serves a host: one without a session of the client learns of it a moment later.
    pub async fn until_served(&self, host: &str) {
        until_ok(&format!("every relay serves {host}"), || async {
            let statuses = self.statuses(host).await;
            if statuses.iter().all(|status| *status == 200) { Ok(()) } else { Err(statuses) }
        })
        .await;
    }

    /// Waits until no stream is open on any relay.
    pub async fn until_streams_ended(&self) {
        until("no stream is open", || self.relays.iter().all(|relay| relay.metric("adit_streams_open") == 0))
            .await;
    }

    /// Waits until the load balancer sends consumers to a relay. `host` is the one that they ask for.
    pub async fn until_balanced_to(&self, index: usize, host: &str) {
        let consumer = Consumer::plain(self.balancer.http());
        let connections = || self.relays[index].metric("adit_connections_total");
        let before = connections();
        until_async("the relay gets connections", || async {
            consumer.get(host, "/").await.expect("a relay answers");
            connections() > before
        })
        .await;
    }
}
