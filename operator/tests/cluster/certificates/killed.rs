//! An operator that is killed between any two things that it writes is followed by one that goes on.

use super::Place;
use crate::cluster::until;
use adit_testkit::unruly::{Instead, UnrulyCa};
use kube::ResourceExt;
use serde_json::json;

/// Where the operator is killed: what it has asked the CA for by then, and whether the CA has done it.
const POINTS: [(&str, Instead); 6] = [
    ("/order-plz", Instead::Hang),
    // The CA has an order that nobody knows of: the one order too many.
    ("/order-plz", Instead::Lose),
    ("/chalZ/", Instead::Lose),
    ("/finalize-order/", Instead::Hang),
    ("/finalize-order/", Instead::Lose),
    ("/certZ/", Instead::Lose),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_killed_at_any_step_is_followed_by_one_that_goes_on() {
    let place = Place::new().await;
    let mut operator = place.cluster.operator();
    let mut cas = Vec::new();
    for (n, (path, instead)) in POINTS.into_iter().enumerate() {
        let ca = UnrulyCa::start(&place.pebble).await;
        // One that was given up on is asked again and hangs again; an answer is lost once.
        let times = if matches!(instead, Instead::Hang) { usize::MAX } else { 1 };
        ca.instead(path, times, instead);
        let mut spec = place.acme(&[&format!("k{n}.example.test")]);
        spec["acme"]["server"] = json!(ca.directory());
        place.apply(&format!("k{n}"), &spec).await;
        cas.push(ca);
    }
    // And one whose certificate is in the store already, which no relay has confirmed.
    let last = POINTS.len();
    place.apply(&format!("k{last}"), &place.acme(&[&format!("k{last}.example.test")])).await;
    let id = place.api().get(&format!("k{last}")).await.unwrap().uid().unwrap();
    until("one is in the store", async || place.store.certificate(&id).await.unwrap().is_some()).await;
    until("all others are where they should be", async || cas.iter().all(|ca| ca.held() > 0)).await;
    operator.kill();
    cas.iter().for_each(UnrulyCa::calm);

    let _next = place.cluster.operator();
    for n in 0..=last {
        place.wait_for(&format!("k{n}"), "RolledOut", "True", "RolledOut").await;
        let status = place.api().get(&format!("k{n}")).await.unwrap().status.unwrap();
        assert_eq!(status.revision, Some(1), "k{n}: {}", place.cluster.log());
    }
    let count = |words: &str| place.pebble.log().matches(words).count();
    assert_eq!(count("Issued certificate serial"), last + 1, "{}", place.pebble.log());
    assert_eq!(count("Added order"), last + 2, "{}", place.pebble.log());
}
