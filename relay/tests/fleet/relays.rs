//! A region under load while its relays restart, crash and hang, and while Redis is down.

use crate::fixture::{FleetFixture, HOST, client_of, http_tunnel, until_open};
use adit_testkit::{
    http::Consumer,
    load_generator::LoadGenerator,
    region::DOMAIN,
    soak::scale,
    wait::{until, until_ok},
};
use futures_util::future::join_all;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_enter_at_any_relay() {
    let fleet = FleetFixture::start().await;
    for relay in &fleet.relays {
        let answer = Consumer::plain(relay.http()).get(HOST, "/bytes/100000").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 100_000), "{}", relay.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_websockets_through_a_peer_are_carried() {
    let fleet = FleetFixture::with_unused_links().await;
    let consumer = Consumer::plain(fleet.relays[fleet.relay_without_session()].http());
    // All at once, so that each of the links to the peer begins with a WebSocket.
    let opening = (0..16).map(|_| {
        until_ok("the relay knows the tunnel", || async {
            match consumer.websocket(HOST, "/ws").await {
                // The relay has not learned of the tunnel yet, and asked no peer.
                Err(error) if error.to_string().contains("unknown_host") => Err(error),
                opened => Ok(opened.expect("the service accepts")),
            }
        })
    });
    for mut socket in join_all(opening).await {
        socket.send(2, vec![7; 10]).await.unwrap();
        assert_eq!(socket.receive().await.unwrap().payload, vec![7; 10]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request() {
    let mut fleet = FleetFixture::start().await;
    let load = LoadGenerator::start(&[fleet.balancer.http()], 8, HOST, "/bytes/1000");
    load.until_answered(200).await;
    for index in 0..fleet.relays.len() {
        fleet.relays[index].child.term();
        until("the relay has ended", || !fleet.relays[index].child.is_running()).await;
        fleet.restart(index);
        fleet.until_two_relays_have_sessions().await;
        load.until_answered(200).await;
    }
    let (answered, failures) = load.stop().await;
    assert!(
        failures.is_empty(),
        "{} of {answered} failed: {:?}",
        failures.len(),
        &failures[..failures.len().min(10)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_relay_is_replaced_under_load_and_no_request_fails() {
    let mut fleet = FleetFixture::start().await;
    let consumers = [fleet.balancer.http()];
    for gone in [1, 2] {
        fleet.relays[gone].child.kill();
    }
    let load = || LoadGenerator::start(&consumers, 32, HOST, "/bytes/1000");
    // The load balancer may not have noticed yet.
    loop {
        let trial = load();
        trial.until_answered(200).await;
        if trial.stop().await.1.is_empty() {
            break;
        }
    }
    let load = load();
    let mut last = 0;
    for next in std::iter::repeat_n([1, 0], scale(2, 50)).flatten() {
        load.until_answered(200).await;
        fleet.restart(next);
        fleet.until_balanced_to(next, HOST).await;
        fleet.relays[last].child.term();
        until("the old one has ended", || !fleet.relays[last].child.is_running()).await;
        last = next;
    }
    let (answered, failures) = load.stop().await;
    assert!(
        failures.is_empty(),
        "{} of {answered}: {:?}",
        failures.len(),
        &failures[..failures.len().min(10)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_takes_no_request_along_that_entered_elsewhere() {
    let mut fleet = FleetFixture::start().await;
    let home = fleet.relays_with_sessions()[0];
    let load = LoadGenerator::start(&fleet.http_addresses_except(home), 8, HOST, "/bytes/1000");
    load.until_answered(500).await;
    fleet.relays[home].child.kill();
    load.until_answered(2000).await;
    let (answered, failures) = load.stop().await;
    // An answer that has begun is lost with the relay that brought it; nothing else is.
    let unexplained: Vec<_> = failures.iter().filter(|failure| !failure.contains("answer:")).collect();
    assert!(unexplained.is_empty(), "of {answered}: {unexplained:?}");
    fleet.until_two_relays_have_sessions().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_relay_is_left_after_its_ping_timeout() {
    let mut fleet = FleetFixture::start().await;
    let home = fleet.relays_with_sessions()[0];
    let entries = fleet.http_addresses_except(home);
    fleet.relays[home].child.stop();
    fleet.until_two_relays_have_sessions().await;
    let load = LoadGenerator::start(&entries, 4, HOST, "/bytes/1000");
    load.until_answered(500).await;
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "of {answered}: {failures:?}");
    fleet.relays[home].child.cont();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_flushed_or_gone_disturbs_no_request() {
    let mut fleet = FleetFixture::start().await;
    let load = LoadGenerator::start(&fleet.http_addresses(), 3, HOST, "/bytes/1000");
    load.until_answered(200).await;
    fleet.redis.flush();
    load.until_answered(500).await;
    fleet.redis.kill();
    load.until_answered(500).await;
    fleet.redis.restart();
    load.until_answered(500).await;
    let second = fleet.client("ci", "second").await;
    fleet.until_served("second.adit.localhost").await;
    second.stop(Duration::from_secs(1)).await;
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "of {answered}: {failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_a_later_client_reach_every_relay() {
    const OPTIONS: &str = r#"{"later":{"list":[],"n":18446744073709551615}}"#;
    let fleet = FleetFixture::empty("").await;
    let mut tunnel = http_tunnel(fleet.service.address(), "shop");
    tunnel.relay_options = serde_json::from_str(OPTIONS).unwrap();
    let client = client_of(&fleet, "ci", &[]).tunnel(tunnel).start().unwrap();
    until_open(&client).await;
    fleet.until_served(HOST).await;
    // All relays read this row; registry/contract shows that the route has what it says.
    let row = fleet.redis.run(&format!("HGET {{{DOMAIN}}}:rows {HOST}"));
    let row: serde_json::Value = serde_json::from_str(&row).unwrap();
    assert_eq!(row["options"], OPTIONS, "{row}");
}
