//! An operator is killed between two writes of an order, and the next one continues the order.

use super::CertificateFixture;
use crate::cluster::until;
use adit_testkit::faulty_ca::{Fault, FaultyCa};
use kube::ResourceExt;
use serde_json::json;

/// When the operator is killed: its last request to the CA, and whether the CA handled it.
const POINTS: [(&str, Fault); 6] = [
    ("/order-plz", Fault::Hang),
    // The CA has an order that the operator does not know: one order too many.
    ("/order-plz", Fault::LoseResponse),
    ("/chalZ/", Fault::LoseResponse),
    ("/finalize-order/", Fault::Hang),
    ("/finalize-order/", Fault::LoseResponse),
    ("/certZ/", Fault::LoseResponse),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_operator_continues_an_order_at_any_step() {
    let fixture = CertificateFixture::new().await;
    let mut operator = fixture.cluster.operator();
    let mut cas = Vec::new();
    for (n, (path, instead)) in POINTS.into_iter().enumerate() {
        let ca = FaultyCa::start(&fixture.pebble).await;
        // A request that timed out is sent again and hangs again; one answer is lost.
        let times = if matches!(instead, Fault::Hang) { usize::MAX } else { 1 };
        ca.inject(path, times, instead);
        let mut spec = fixture.acme(&[&format!("k{n}.example.test")]);
        spec["acme"]["server"] = json!(ca.directory());
        fixture.apply(&format!("k{n}"), &spec).await;
        cas.push(ca);
    }
    // The certificate is in the store, and no relay has confirmed it.
    let last = POINTS.len();
    fixture.apply(&format!("k{last}"), &fixture.acme(&[&format!("k{last}.example.test")])).await;
    let id = fixture.api().get(&format!("k{last}")).await.unwrap().uid().unwrap();
    until("one is in the store", async || fixture.store.certificate(&id).await.unwrap().is_some()).await;
    until("all others are where they should be", async || cas.iter().all(|ca| ca.held_requests() > 0)).await;
    operator.kill();
    cas.iter().for_each(FaultyCa::clear_faults);

    let _next = fixture.cluster.operator();
    for n in 0..=last {
        fixture.wait_for(&format!("k{n}"), "RolledOut", "True", "RolledOut").await;
        let status = fixture.api().get(&format!("k{n}")).await.unwrap().status.unwrap();
        assert_eq!(status.revision, Some(1), "k{n}: {}", fixture.cluster.log());
    }
    let count = |words: &str| fixture.pebble.log().matches(words).count();
    assert_eq!(count("Issued certificate serial"), last + 1, "{}", fixture.pebble.log());
    assert_eq!(count("Added order"), last + 2, "{}", fixture.pebble.log());
}
