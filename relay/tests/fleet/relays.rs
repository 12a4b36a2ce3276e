//! A region under load while its relays restart, die and hang, and while Redis goes away.

use crate::place::{Fleet, HOST};
use adit_testkit::{http::Consumer, load::Load, soak::scale, wait::until};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_enter_at_any_relay() {
    let fleet = Fleet::start().await;
    for relay in &fleet.relays {
        let answer = Consumer::plain(relay.http()).get(HOST, "/bytes/100000").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 100_000), "{}", relay.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_websockets_through_a_peer_are_carried_as_the_later_ones() {
    let fleet = Fleet::with_unused_links().await;
    let consumer = Consumer::plain(fleet.relays[fleet.stranger()].http());
    // All at once, so that each of the links to the peer begins with a WebSocket.
    let end = Instant::now() + Duration::from_secs(60);
    let opening: Vec<_> = (0..16)
        .map(|_| {
            let consumer = consumer.clone();
            tokio::spawn(async move {
                loop {
                    match consumer.websocket(HOST, "/ws").await {
                        // The relay has not heard of the tunnel yet, and asked nobody.
                        Err(error) if error.to_string().contains("unknown_host") && Instant::now() < end => {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        opened => return opened,
                    }
                }
            })
        })
        .collect();
    for socket in opening {
        let mut socket = socket.await.unwrap().expect("the service accepts");
        socket.send(2, vec![7; 10]).await.unwrap();
        assert_eq!(socket.receive().await.unwrap().payload, vec![7; 10]);
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
async fn the_only_relay_is_replaced_under_load_and_no_request_fails() {
    let mut fleet = Fleet::start().await;
    let consumers = [fleet.balancer.http()];
    for gone in [1, 2] {
        fleet.relays[gone].child.kill();
    }
    let load = || Load::start(&consumers, 32, HOST, "/bytes/1000");
    // The load balancer may not have noticed yet.
    loop {
        let trial = load();
        trial.more(200).await;
        if trial.end().await.1.is_empty() {
            break;
        }
    }
    let load = load();
    let mut last = 0;
    for next in std::iter::repeat_n([1, 0], scale(2, 50)).flatten() {
        load.more(200).await;
        let Fleet { region, relays, .. } = &mut fleet;
        region.start_again(&mut relays[next]);
        relays[next].wait_ready();
        fleet.is_balanced_to(next).await;
        fleet.relays[last].child.term();
        until("the old one has ended", || !fleet.relays[last].child.is_running()).await;
        last = next;
    }
    let (answered, failures) = load.end().await;
    assert!(
        failures.is_empty(),
        "{} of {answered}: {:?}",
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
    until("requests are answered without the frozen relay", || fleet.homes().len() >= 2).await;
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
    fleet.is_served_everywhere("second.adit.localhost").await;
    second.stop(Duration::from_secs(1)).await;
    let (answered, failures) = load.end().await;
    assert!(failures.is_empty(), "of {answered}: {failures:?}");
}
