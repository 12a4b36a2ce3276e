//! Three relays with one Redis and one Postgres behind haproxy, a client on two of them, and faults.

use adit::{Client, TunnelSpec, service::Service as Address};
use adit_protocol::Kind;
use adit_testkit::{
    balancer::Balancer,
    http::{Consumer, Service},
    load::Load,
    postgres::Postgres,
    redis::Redis,
    region::{DOMAIN, Region, Relay},
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

const HOST: &str = "shop.adit.localhost";

/// Everything that one test needs; what is dropped first stands first.
struct Fleet {
    client: Option<Client>,
    balancer: Balancer,
    relays: Vec<Relay>,
    region: Region,
    redis: Redis,
    service: Service,
}

impl Fleet {
    async fn start() -> Self {
        let redis = Redis::start();
        let region = Region::new(env!("CARGO_BIN_EXE_adit-relay"))
            .registry(redis.url())
            .store(Postgres::shared().database())
            .with("limits: {requestsPerSecond: 100000, streams: 10000}\ndrainTimeout: 20s");
        let mut relays: Vec<Relay> = ["a", "b", "c"].map(|name| region.spawn(name)).into();
        for relay in &mut relays {
            relay.wait_ready();
        }
        let balancer = Balancer::start(&relays.iter().collect::<Vec<_>>());
        let service = Service::start().await;
        let mut fleet = Self { client: None, balancer, relays, region, redis, service };
        fleet
            .wait("every relay knows the others", |fleet| fleet.relays.iter().all(|r| relays_of(r) == 3))
            .await;
        fleet.client = Some(fleet.client("ci", "shop").await);
        fleet.wait("the client has two relays", |fleet| fleet.homes().len() >= 2).await;
        fleet
    }

    async fn client(&self, account: &str, name: &str) -> Client {
        let mut spec = TunnelSpec::new(
            Address::parse(Kind::Http, &self.service.address().to_string()).expect("an address"),
        );
        spec.name = Some(name.to_owned());
        let client = Client::builder()
            .relay(format!("{DOMAIN}:{}", self.balancer.https().port()))
            .token(self.region.token(&self.relays[0], account, &[]))
            .ca(self.region.ca())
            .tunnel(spec)
            .start()
            .expect("the client's settings are right");
        let tunnel = client.tunnels()[0].clone();
        wait("the tunnel has a URL", || client.url(&tunnel).is_some()).await;
        client
    }

    /// The relays that have sessions of the client.
    fn homes(&self) -> Vec<usize> {
        let has = |index: &usize| number(&self.relays[*index], "adit_sessions_open") > 0;
        (0..self.relays.len()).filter(has).collect()
    }

    async fn wait(&self, what: &str, state: impl Fn(&Self) -> bool) {
        wait(what, || state(self)).await;
    }

    fn entries(&self, except: usize) -> Vec<SocketAddr> {
        let others = self.relays.iter().enumerate().filter(|(index, _)| *index != except);
        others.map(|(_, relay)| relay.http()).collect()
    }
}

async fn wait(what: &str, state: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !state() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A number of a relay's metrics, over all its labels; 0 while the relay does not answer.
fn number(relay: &Relay, name: &str) -> u64 {
    let Some((_, text)) = relay.ask("/metrics") else { return 0 };
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    };
    text.lines().filter_map(of).sum::<f64>() as u64
}

/// How many relays a relay sees in its region, itself included.
fn relays_of(relay: &Relay) -> u64 {
    number(relay, "adit_relays")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_enter_at_any_relay() {
    let fleet = Fleet::start().await;
    for relay in &fleet.relays {
        let answer = Consumer::plain(relay.http()).get(HOST, "/bytes/100000").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 100_000), "{}", relay.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request() {
    let mut fleet = Fleet::start().await;
    let load = Load::start(&[fleet.balancer.http()], 8, HOST, "/bytes/1000");
    load.more(200).await;
    for index in 0..fleet.relays.len() {
        fleet.relays[index].child.term();
        let end = Instant::now() + Duration::from_secs(60);
        while fleet.relays[index].child.is_running() {
            assert!(Instant::now() < end, "relay {index} does not end; homes {:?}", fleet.homes());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Fleet { region, relays, .. } = &mut fleet;
        region.start_again(&mut relays[index]);
        relays[index].wait_ready();
        fleet.wait("the client has two relays again", |fleet| fleet.homes().len() >= 2).await;
        load.more(200).await;
    }
    let (answered, failures) = load.end().await;
    assert!(
        failures.is_empty(),
        "{} of {answered} failed: {:?}",
        failures.len(),
        &failures[..failures.len().min(10)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_takes_no_request_along_that_entered_elsewhere() {
    let mut fleet = Fleet::start().await;
    let home = fleet.homes()[0];
    let load = Load::start(&fleet.entries(home), 8, HOST, "/bytes/1000");
    load.more(500).await;
    fleet.relays[home].child.kill();
    load.more(2000).await;
    let (answered, failures) = load.end().await;
    // An answer that has begun is lost with the relay that brought it; nothing else is.
    let unexplained: Vec<_> = failures.iter().filter(|failure| !failure.contains("answer:")).collect();
    assert!(unexplained.is_empty(), "of {answered}: {unexplained:?}");
    fleet.wait("the client has two relays again", |fleet| fleet.homes().len() >= 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_relay_is_left_after_its_ping_timeout() {
    let mut fleet = Fleet::start().await;
    let home = fleet.homes()[0];
    let entries = fleet.entries(home);
    fleet.relays[home].child.stop();
    wait("requests are answered without the frozen relay", || fleet.homes().len() >= 2).await;
    let load = Load::start(&entries, 4, HOST, "/bytes/1000");
    load.more(500).await;
    let (answered, failures) = load.end().await;
    assert!(failures.is_empty(), "of {answered}: {failures:?}");
    fleet.relays[home].child.cont();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_flushed_or_gone_disturbs_no_request() {
    let mut fleet = Fleet::start().await;
    let load = Load::start(&fleet.entries(usize::MAX), 3, HOST, "/bytes/1000");
    load.more(200).await;
    fleet.redis.flush();
    load.more(500).await;
    fleet.redis.kill();
    load.more(500).await;
    fleet.redis.restart();
    load.more(500).await;
    let second = fleet.client("ci", "second").await;
    let answer = Consumer::plain(fleet.relays[2].http()).get("second.adit.localhost", "/").await.unwrap();
    assert_eq!(answer.status, 200);
    second.stop(Duration::from_secs(1)).await;
    let (answered, failures) = load.end().await;
    assert!(failures.is_empty(), "of {answered}: {failures:?}");
}
