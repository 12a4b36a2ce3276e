//! The operator that leads is killed while it enforces a Complaint, and another one goes on.

use crate::{
    cluster::{Cluster, LONG, until},
    complaints::{Desk, condition, migrated, place},
};
use adit_api::{Complaint, complaint::Phase};
use adit_store::Store;
use adit_testkit::{http::Service, kube_apiserver::KubeApiserver, soak::scale};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::json;
use std::time::Duration;

/// What the store remembers of a complaint is what was done, each once.
async fn was_enforced_once(store: &Store, complaint: &Complaint) {
    let id = complaint.metadata.uid.clone().unwrap();
    let deeds: Vec<String> =
        store.complaint_history(&id).await.unwrap().into_iter().map(|entry| entry.what).collect();
    assert_eq!(deeds, ["filed", "acknowledged", "enforced"]);
    let status = complaint.status.as_ref().unwrap();
    assert!(status.acknowledged_at.is_some() && status.enforced_at >= status.acknowledged_at, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_operator_finishes_what_the_killed_one_began_and_does_nothing_twice() {
    let cluster = Cluster::new().await;
    let (mut leader, desk) = (cluster.operator(), Desk::new(&cluster));
    migrated(&desk).await;
    // It waits for the lease: what it knows until then it has from the store and the API server.
    let _next = cluster.operator_as(&KubeApiserver::shared().url(), "two");
    let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
    let eu = place("eu.localhost", "a", &cluster.store);
    let mut us = place("us.localhost", "us-a", &cluster.store);
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    let mut eve = eu.client(folder.path(), "eve", "shop", &service);
    until("it is served", async || eu.status("shop").await == 200).await;

    // One relay has confirmed, the other one has not, and nobody leads when it does.
    us.relay.child.stop();
    let spec = json!({"against": {"account": "adit|eve"}, "category": "Spam", "decision": "Acknowledged"});
    desk.apply("cpl-1", spec).await.unwrap();
    let waits = "1 of 2 relays have not confirmed it: us-a of us.localhost";
    until("one of two has confirmed", async || {
        let found = desk.api.get("cpl-1").await.unwrap();
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
    let done = desk.is("cpl-1", Phase::Enforced).await;
    assert_eq!(done.status.as_ref().unwrap().relays.summary, "2/2");
    assert_eq!(eve.wait(LONG).and_then(|status| status.code()), Some(5), "{}", eve.output());
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
    // One that cannot be written in time is dropped.
    assert!(told().await <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_of_an_enforcement_it_is_enforced_exactly_once() {
    let cluster = Cluster::new().await;
    let (mut operator, desk) = (cluster.operator(), Desk::new(&cluster));
    migrated(&desk).await;
    let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
    let eu = place("eu.localhost", "a", &cluster.store);
    for round in 0..scale(6_u64, 60) {
        let name = format!("cpl-{round}");
        let spec = json!({"against": {"account": format!("adit|eve-{round}")}, "category": "Spam",
            "decision": "Acknowledged"});
        desk.apply(&name, spec).await.unwrap();
        // Somewhere between the first look and the last write; where, decides the machine.
        tokio::time::sleep(Duration::from_millis(10 * round)).await;
        operator.kill();
        operator = cluster.operator();
        let done = desk.is(&name, Phase::Enforced).await;
        was_enforced_once(&store, &done).await;
        assert_eq!(store.suspensions_version().await.unwrap(), round + 1);
        assert_eq!(eu.relay.metric("adit_suspensions"), round + 1);
    }
}
