//! The leader is killed while it enforces a Complaint, and the next leader finishes that.

use crate::{
    cluster::{Cluster, MAX_WAIT, until},
    complaints::{ComplaintFixture, condition, migrated, relay_fixture},
};
use adit_api::{Complaint, complaint::Phase};
use adit_store::Store;
use adit_testkit::{http::Service, kube_apiserver::KubeApiserver, soak::scale};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::json;
use std::time::Duration;

/// Asserts that the history has each step once.
async fn was_enforced_once(store: &Store, complaint: &Complaint) {
    let id = complaint.metadata.uid.clone().unwrap();
    let history: Vec<String> =
        store.complaint_history(&id).await.unwrap().into_iter().map(|entry| entry.what).collect();
    assert_eq!(history, ["filed", "acknowledged", "enforced"]);
    let status = complaint.status.as_ref().unwrap();
    assert!(status.acknowledged_at.is_some() && status.enforced_at >= status.acknowledged_at, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_operator_finishes_an_enforcement_exactly_once() {
    let cluster = Cluster::new().await;
    let (mut leader, complaints) = (cluster.operator(), ComplaintFixture::new(&cluster));
    migrated(&complaints).await;
    // It waits for the Lease, and learns everything from the store and the API server.
    let _next = cluster.operator_as(&KubeApiserver::shared().url(), "two");
    let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
    let eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let mut us = relay_fixture("us.localhost", "us-a", &cluster.store);
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    let mut eve = eu.client(folder.path(), "eve", "shop", &service);
    until("it is served", async || eu.status("shop").await == 200).await;

    // One relay has confirmed; the other one confirms while there is no leader.
    us.relay.child.stop();
    let spec = json!({"against": {"account": "adit|eve"}, "category": "Spam", "decision": "Acknowledged"});
    complaints.apply("cpl-1", spec).await.unwrap();
    let waits = "1 of 2 relays have not confirmed it: us-a of us.localhost";
    until("one of two has confirmed", async || {
        let found = complaints.api.get("cpl-1").await.unwrap();
        found.status.is_some() && condition(&found, "Enforced").2 == waits
    })
    .await;
    leader.kill();
    us.relay.child.cont();
    let version = store.suspensions_version().await.unwrap();
    until("the other relay has confirmed", async || {
        let seen = store.relays_seen().await.unwrap();
        seen.len() == 2 && seen.iter().all(|relay| relay.suspensions_version >= version)
    })
    .await;
    let done = complaints.is("cpl-1", Phase::Enforced).await;
    assert_eq!(done.status.as_ref().unwrap().relays.summary, "2/2");
    assert_eq!(eve.wait(MAX_WAIT).and_then(|status| status.code()), Some(5), "{}", eve.output());
    assert_eq!(eu.status("shop").await, 403);
    was_enforced_once(&store, &done).await;
    assert_eq!(store.suspensions_version().await.unwrap(), version, "relays were told once");
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let told = async || {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let of = |event: &&Event| {
            let about = event.regarding.as_ref().and_then(|one| one.name.as_deref());
            about == Some("cpl-1") && event.reason.as_deref() == Some("Enforced")
        };
        all.iter().filter(of).count()
    };
    // An Event that cannot be written in time is dropped.
    assert!(told().await <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_during_an_enforcement_enforces_it_exactly_once() {
    let cluster = Cluster::new().await;
    let (mut operator, complaints) = (cluster.operator(), ComplaintFixture::new(&cluster));
    migrated(&complaints).await;
    let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
    let eu = relay_fixture("eu.localhost", "a", &cluster.store);
    for round in 0..scale(6_u64, 60) {
        let name = format!("cpl-{round}");
        let spec = json!({"against": {"account": format!("adit|eve-{round}")}, "category": "Spam",
            "decision": "Acknowledged"});
        complaints.apply(&name, spec).await.unwrap();
        // At a random moment between the first read and the last write.
        tokio::time::sleep(Duration::from_millis(10 * round)).await;
        operator.kill();
        operator = cluster.operator();
        let done = complaints.is(&name, Phase::Enforced).await;
        was_enforced_once(&store, &done).await;
        assert_eq!(store.suspensions_version().await.unwrap(), round + 1);
        assert_eq!(eu.relay.metric("adit_suspensions"), round + 1);
    }
}
