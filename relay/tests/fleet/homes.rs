//! Which relays of a region a client makes its home: two, as soon as there are two.

use adit::{Client, TunnelSpec, service::Service as Address};
use adit_protocol::Kind;
use adit_testkit::{
    balancer::Balancer,
    http::Service,
    postgres::Postgres,
    redis::Redis,
    region::{DOMAIN, Region, Relay},
    wait::until,
};
use std::time::{Duration, Instant};

fn region(redis: &Redis) -> Region {
    let region = Region::new(env!("CARGO_BIN_EXE_adit-relay")).registry(redis.url());
    region.store(Postgres::shared().database()).with("lanes: 2\ndrainTimeout: 1s")
}

async fn client(region: &Region, relay: &Relay, balancer: &Balancer, service: &Service) -> Client {
    let address = Address::parse(Kind::Http, &service.address().to_string()).unwrap();
    let client = Client::builder()
        .relay(format!("{DOMAIN}:{}", balancer.https().port()))
        .token(region.token(relay, "ci", &[]))
        .ca(region.ca())
        .tunnel(TunnelSpec::new(address))
        .start()
        .unwrap();
    let tunnel = client.tunnels()[0].clone();
    until("the tunnel has a URL", || client.url(&tunnel).is_some()).await;
    client
}

fn sessions(relays: &[Relay]) -> Vec<u64> {
    relays.iter().map(|relay| relay.metric("adit_sessions_open")).collect()
}

fn homes(relays: &[Relay]) -> usize {
    sessions(relays).iter().filter(|sessions| **sessions > 0).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_relays_a_client_has_sessions_with_two() {
    let redis = Redis::start();
    let region = region(&redis);
    let mut relays: Vec<Relay> = ["a", "b", "c"].map(|name| region.spawn(name)).into();
    relays.iter_mut().for_each(Relay::wait_ready);
    let balancer = Balancer::start(&relays.iter().collect::<Vec<_>>());
    let service = Service::start().await;
    until("the relays know each other", || relays.iter().all(|relay| relay.metric("adit_relays") == 3)).await;
    let client = client(&region, &relays[0], &balancer, &service).await;
    until("the client has two relays", || homes(&relays) == 2).await;
    // It goes on to look for the second session of each; none of that leads it to the third relay.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end && sessions(&relays).iter().sum::<u64>() < 4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let opened = || relays.iter().map(|relay| relay.metric("adit_sessions_opened_total")).sum::<u64>();
    let end = Instant::now() + Duration::from_secs(60);
    let (opened, open) = loop {
        // A session may come between two looks: what counts is seen between two equal numbers.
        let (before, open, after) = (opened(), sessions(&relays), opened());
        if before == after {
            break (after, open);
        }
        assert!(Instant::now() < end, "it opens sessions for ever: {open:?}");
    };
    assert_eq!(
        (open.iter().filter(|sessions| **sessions > 0).count(), open.iter().sum::<u64>()),
        (2, opened),
        "no session was opened in vain: {open:?}"
    );
    assert!(open.iter().all(|sessions| *sessions <= 2), "{open:?}");
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_joins_a_region_of_one_is_told_to_the_clients() {
    let redis = Redis::start();
    let region = region(&redis);
    let mut relays: Vec<Relay> = ["a", "b"].map(|name| region.spawn(name)).into();
    relays.iter_mut().for_each(Relay::wait_ready);
    let balancer = Balancer::start(&relays.iter().collect::<Vec<_>>());
    let service = Service::start().await;
    relays[1].child.term();
    relays[1].child.wait(Duration::from_secs(60)).unwrap();
    until("the first relay is alone", || relays[0].metric("adit_relays") == 1).await;
    let client = client(&region, &relays[0], &balancer, &service).await;
    until("the client is where it can be", || sessions(&relays)[0] == 2).await;
    region.start_again(&mut relays[1]);
    // Nobody told it would look for another relay after some minutes.
    until("the client has two relays", || homes(&relays) == 2).await;
    drop(client);
}
