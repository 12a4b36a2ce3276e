//! The relays of a region with which a client has sessions: two, as soon as there are two.

use crate::fixture::{client_of, http_tunnel, until_open};
use adit::Client;
use adit_testkit::{
    fleet::RelayFleet,
    http::Service,
    postgres::Postgres,
    region::TestRegion,
    wait::{MAX_WAIT, until},
};
use std::time::{Duration, Instant};

async fn start(names: &[&str]) -> (RelayFleet, Service) {
    let region = TestRegion::new(env!("CARGO_BIN_EXE_adit-relay")).store(Postgres::shared().database());
    let fleet = RelayFleet::start(region.with("lanes: 2\ndrainTimeout: 1s"), names).await;
    (fleet, Service::start().await)
}

async fn client(fleet: &RelayFleet, service: &Service) -> Client {
    let client = client_of(fleet, "ci", &[]).tunnel(http_tunnel(service.address(), "shop")).start().unwrap();
    until_open(&client).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_relays_a_client_has_sessions_with_two() {
    let (fleet, service) = start(&["a", "b", "c"]).await;
    let client = client(&fleet, &service).await;
    until("the client has two relays", || fleet.relays_with_sessions().len() == 2).await;
    // It goes on to look for the second session of each; none of that leads it to the third relay.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end && fleet.sessions().iter().sum::<u64>() < 4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let opened = || fleet.relays.iter().map(|relay| relay.metric("adit_sessions_opened_total")).sum::<u64>();
    let end = Instant::now() + MAX_WAIT;
    let (opened, open) = loop {
        // A session may come between two looks: what counts is seen between two equal numbers.
        let (before, open, after) = (opened(), fleet.sessions(), opened());
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
    let (mut fleet, service) = start(&["a", "b"]).await;
    fleet.relays[1].child.term();
    fleet.relays[1].child.wait(Duration::from_secs(60)).unwrap();
    until("the first relay is alone", || fleet.relays[0].metric("adit_relays") == 1).await;
    let client = client(&fleet, &service).await;
    until("the client is where it can be", || fleet.sessions()[0] == 2).await;
    fleet.restart(1);
    // Nobody told it would look for another relay after some minutes.
    until("the client has two relays", || fleet.relays_with_sessions().len() == 2).await;
    drop(client);
}
