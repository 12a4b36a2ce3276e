//! Which relays there are, and what becomes of what they serve.

use super::{
    contract,
    region::{MAX_WAIT, Region, Relay},
    within,
};
use crate::cluster::{
    registry::Claim,
    table::{RELAY_TTL, RelayRecord},
};
use std::time::{Duration, Instant};

contract![
    relays_see_each_other_and_how_loaded_they_are,
    only_a_change_that_matters_wakes_those_who_wait,
    an_admitted_session_is_announced_with_the_next_beat,
    a_session_that_beats_no_longer_list_is_released,
    a_relay_that_leaves_takes_its_sessions_along,
    a_relay_that_is_no_longer_heard_is_gone_everywhere_and_may_come_back,
];

const HOST: &str = "shop.eu.example.com";

fn relays_of(relay: &Relay) -> Vec<RelayRecord> {
    relay.registry.table().relays().to_vec()
}

async fn relays_see_each_other_and_how_loaded_they_are(region: Region) {
    let [a, b] = region.relays().await;
    for relay in [&a, &b] {
        within(MAX_WAIT, || relays_of(relay), vec![a.record(), b.record()]).await;
    }
    let busy = RelayRecord { sessions: 4_000_000_000, streams: 77, draining: true, peer: None, ..b.record() };
    b.registry.beat(&busy, &[]).await.unwrap();
    for relay in [&a, &b] {
        within(MAX_WAIT, || relays_of(relay), vec![a.record(), busy.clone()]).await;
    }
}

async fn only_a_change_that_matters_wakes_those_who_wait(region: Region) {
    let [a, b] = region.relays().await;
    within(MAX_WAIT, || relays_of(&a).len(), 2).await;
    let mut changed = a.registry.table().changed();
    changed.mark_unchanged();
    let busy = RelayRecord { streams: 77, ..b.record() };
    b.registry.beat(&busy, &[]).await.unwrap();
    within(MAX_WAIT, || relays_of(&a)[1].streams, 77).await;
    assert!(!changed.has_changed().unwrap(), "load alone is no change");
    b.registry.beat(&RelayRecord { draining: true, ..busy }, &[]).await.unwrap();
    tokio::time::timeout(MAX_WAIT, changed.changed()).await.unwrap().unwrap();
    assert!(relays_of(&a)[1].draining);
}

async fn an_admitted_session_is_announced_with_the_next_beat(region: Region) {
    let [a, b] = region.relays().await;
    let claim = a.claim(HOST, "ann", 5, "s1");
    a.registry.admit(&claim).unwrap();
    assert_eq!(a.sees(HOST).as_deref(), Some("ann: s1@relay-1"));
    a.beat(std::slice::from_ref(&claim)).await;
    Region::all_see(&[&a, &b], HOST, Some("ann: s1@relay-1")).await;
    // It need not have been admitted: what a beat lists is served.
    let other = b.claim(HOST, "ann", 5, "s2");
    b.beat(std::slice::from_ref(&other)).await;
    Region::all_see(&[&a, &b], HOST, Some("ann: s1@relay-1 s2@relay-2")).await;
    // Another owner has come meanwhile: then the announcement loses.
    b.registry.claim(&b.claim(HOST, "bob", 6, "s3")).await.unwrap();
    a.beat(&[claim]).await;
    Region::all_see(&[&a, &b], HOST, Some("bob: s3@relay-2")).await;
}

async fn a_session_that_beats_no_longer_list_is_released(region: Region) {
    let [a, b] = region.relays().await;
    let (kept, lost) = (a.claim(HOST, "ann", 1, "s1"), a.claim(HOST, "ann", 1, "s2"));
    for claim in [&kept, &lost] {
        a.registry.claim(claim).await.unwrap();
    }
    Region::all_see(&[&b], HOST, Some("ann: s1@relay-1 s2@relay-1")).await;
    let end = Instant::now() + MAX_WAIT;
    while b.sees(HOST).as_deref() != Some("ann: s1@relay-1") {
        assert!(Instant::now() < end, "{:?}", b.sees(HOST));
        a.beat(std::slice::from_ref(&kept)).await;
    }
    assert_eq!(a.sees(HOST).as_deref(), Some("ann: s1@relay-1"));
}

async fn a_relay_that_leaves_takes_its_sessions_along(region: Region) {
    let [a, b] = region.relays().await;
    for number in 0..300 {
        let host = format!("h{number}.eu.example.com");
        a.registry.claim(&a.claim(&host, "ann", 1, "s1")).await.unwrap();
        if number % 2 == 0 {
            b.registry.claim(&b.claim(&host, "ann", 1, "s2")).await.unwrap();
        }
    }
    within(MAX_WAIT, || b.registry.table().rows(), 300).await;
    a.registry.leave().await;
    within(MAX_WAIT, || b.registry.table().rows(), 150).await;
    within(MAX_WAIT, || relays_of(&b), vec![b.record()]).await;
    Region::all_see(&[&b], "h4.eu.example.com", Some("ann: s2@relay-2")).await;
    let late = region.relay("relay-3").await;
    assert_eq!(late.registry.table().rows(), 150);
}

async fn a_relay_that_is_no_longer_heard_is_gone_everywhere_and_may_come_back(region: Region) {
    let [a, b, c] = region.relays().await;
    let claim = a.claim(HOST, "ann", 1, "s1");
    a.registry.claim(&claim).await.unwrap();
    b.registry.claim(&b.claim(HOST, "ann", 1, "s2")).await.unwrap();
    a.registry.claim(&a.claim("alone.eu.example.com", "ann", 1, "s1")).await.unwrap();
    let kept: Vec<Claim> = vec![b.claim(HOST, "ann", 1, "s2")];
    let silent_since = Instant::now();
    let is_gone = |relay: &Relay| {
        relay.sees(HOST).as_deref() == Some("ann: s2@relay-2") && relay.sees("alone.eu.example.com").is_none()
    };
    let mut beat = Instant::now();
    while !(is_gone(&b) && is_gone(&c)) {
        assert!(silent_since.elapsed() < RELAY_TTL + MAX_WAIT, "{:?} {:?}", b.sees(HOST), c.sees(HOST));
        if beat.elapsed() > Duration::from_secs(1) {
            beat = Instant::now();
            b.beat(&kept).await;
            c.beat(&[]).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(silent_since.elapsed() > RELAY_TTL - Duration::from_secs(1), "{:?}", silent_since.elapsed());
    assert_eq!(relays_of(&b), [b.record(), c.record()]);

    // It was not gone, only slow. Its own table has kept what it serves.
    assert_eq!(a.sees("alone.eu.example.com").as_deref(), Some("ann: s1@relay-1"));
    let own = [claim, a.claim("alone.eu.example.com", "ann", 1, "s1")];
    a.beat(&own).await;
    a.beat(&own).await;
    Region::all_see(&[&a, &b, &c], HOST, Some("ann: s1@relay-1 s2@relay-2")).await;
    Region::all_see(&[&a, &b, &c], "alone.eu.example.com", Some("ann: s1@relay-1")).await;
    for relay in [&a, &b, &c] {
        within(MAX_WAIT, || relays_of(relay).len(), 3).await;
    }
}
