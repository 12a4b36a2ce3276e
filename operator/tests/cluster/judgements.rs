//! Complaints that are edited after the decision or contradict one another, and what explain says of them.

use crate::{
    cluster::{Cluster, MAX_WAIT, spec, until},
    complaints::{ComplaintFixture, condition, history, migrated, relay_fixture},
};
use adit_api::complaint::Phase;
use adit_testkit::{http::Service, process::Child};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

fn acknowledged(against: Value) -> Value {
    json!({"against": against, "category": "Phishing", "decision": "Acknowledged"})
}

/// The time in some seconds (RFC 3339).
fn soon(seconds: i64) -> String {
    let at = Timestamp::now().saturating_add(seconds.seconds()).unwrap();
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

fn exit(client: &mut Child, folder: &Path, name: &str) {
    let ended = client.wait(Duration::from_secs(60)).and_then(|status| status.code());
    let output = std::fs::read_to_string(folder.join(format!("{name}.output"))).unwrap();
    assert_eq!(ended, Some(5), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_after_the_decision_are_enforced_and_it_expires() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    migrated(&complaints).await;
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    let eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let mut bank = eu.client(folder.path(), "eve", "bank", &service);
    let mut shop = eu.client(folder.path(), "eve", "shop", &service);
    until("both are served", async || [eu.status("bank").await, eu.status("shop").await] == [200; 2]).await;
    complaints.apply("cpl-1", acknowledged(json!({"hostname": "bank.eu.localhost"}))).await.unwrap();
    complaints.is("cpl-1", Phase::Enforced).await;
    assert_eq!([eu.status("bank").await, eu.status("shop").await], [403; 2], "the account is offline");
    exit(&mut bank, folder.path(), "bank");
    exit(&mut shop, folder.path(), "shop");

    // Only the name stays offline; the account's other name comes back.
    let edited = complaints.patch("cpl-1", json!({"scope": "Hostname"})).await.unwrap();
    assert_eq!(edited.metadata.generation, Some(2));
    complaints.is("cpl-1", Phase::Enforced).await;
    let _shop = eu.client(folder.path(), "eve", "shop", &service);
    until("the other name is served again", async || eu.status("shop").await == 200).await;
    let mut bank = eu.client(folder.path(), "eve", "bank", &service);
    exit(&mut bank, folder.path(), "bank");
    assert_eq!(eu.status("bank").await, 403);

    // The suspension expires, and begins again without an end.
    complaints.patch("cpl-1", json!({"until": soon(2)})).await.unwrap();
    complaints.is("cpl-1", Phase::Expired).await;
    let bank = eu.client(folder.path(), "eve", "bank", &service);
    until("the name is served again", async || eu.status("bank").await == 200).await;
    complaints.patch("cpl-1", json!({"until": null})).await.unwrap();
    let again = complaints.is("cpl-1", Phase::Enforced).await;
    assert_eq!(condition(&again, "Enforced").0, "True");
    assert_eq!([eu.status("bank").await, eu.status("shop").await], [403, 200]);
    drop(bank);
    let id = again.metadata.uid.unwrap();
    let store = adit_store::Store::open(&cluster.store.parse().unwrap()).unwrap();
    assert_eq!(
        history(&store, &id).await,
        ["filed", "acknowledged", "enforced", "changed", "changed", "changed"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_complaint_holds_against_contradicting_ones() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    migrated(&complaints).await;
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    let eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let eve = json!({"account": "adit|eve"});
    for name in ["one", "two"] {
        complaints.apply(name, acknowledged(eve.clone())).await.unwrap();
        complaints.is(name, Phase::Enforced).await;
    }
    let is_out = async |when: &str| {
        let mut client = eu.client(folder.path(), "eve", "shop", &service);
        let ended = client.wait(Duration::from_secs(60)).and_then(|status| status.code());
        assert_eq!(ended, Some(5), "{when}: {}", cluster.log());
    };
    // A third one is dismissed and a fourth lifted; the first two still hold.
    for (name, decision, phase) in
        [("three", "Dismissed", Phase::Dismissed), ("four", "Lifted", Phase::Lifted)]
    {
        let spec = json!({"against": eve, "category": "Other", "decision": decision});
        complaints.apply(name, spec).await.unwrap();
        let message = condition(&complaints.is(name, phase).await, "Ready").2;
        assert!(message.contains("stays offline because of one, two"), "{name}: {message}");
        is_out(name).await;
    }
    // One of the two expires, and the other is deleted twice; its suspension stays until it is lifted.
    complaints.patch("one", json!({"until": soon(1)})).await.unwrap();
    complaints.is("one", Phase::Expired).await;
    is_out("one is over").await;
    complaints.api.delete("two", &DeleteParams::default()).await.unwrap();
    until("it is gone", async || complaints.api.get_opt("two").await.unwrap().is_none()).await;
    is_out("what is deleted stays").await;
    complaints.apply("two", acknowledged(eve.clone())).await.unwrap();
    complaints.is("two", Phase::Enforced).await;
    complaints.patch("two", json!({"onDelete": "Lift"})).await.unwrap();
    complaints.api.delete("two", &DeleteParams::default()).await.unwrap();
    until("it is gone", async || complaints.api.get_opt("two").await.unwrap().is_none()).await;
    is_out("the first object of that name has left its suspension").await;
    // A Complaint with the decision Lifted ends suspensions of deleted objects too.
    complaints
        .apply("free", json!({"against": eve, "category": "Other", "decision": "Lifted"}))
        .await
        .unwrap();
    let free = condition(&complaints.is("free", Phase::Lifted).await, "Ready").2;
    assert!(!free.contains("stays offline"), "{free}");
    let end = std::time::Instant::now() + MAX_WAIT;
    let mut client = eu.client(folder.path(), "eve", "shop", &service);
    while eu.status("shop").await != 200 {
        assert!(std::time::Instant::now() < end, "it is never let in again: {}", cluster.log());
        // Relays learn of the end a moment later.
        if !client.is_running() {
            client = eu.client(folder.path(), "eve", "shop", &service);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_names_the_complaint_that_keeps_a_url_offline() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    let mut region = spec(&cluster.namespace);
    region["domain"] = json!(format!("{}.localhost", cluster.namespace));
    cluster.apply("eu", &region).await.unwrap();
    let url = format!("https://shop.{}.localhost/", cluster.namespace);
    let explain = async || {
        let (code, message) = cluster.kubectl_adit(&["explain", &url]).await;
        assert_eq!(code, Some(8), "nobody serves it: {message}");
        let step = message.lines().find(|line| line.contains("complaint")).map(str::to_owned);
        (step.unwrap_or_else(|| panic!("there is no such step: {message}")), message)
    };
    until("the Region is known", async || cluster.regions().get("eu").await.unwrap().status.is_some()).await;
    assert!(explain().await.0.ends_with("none"), "{}", explain().await.0);
    complaints.apply("cpl-1", json!({"against": {"url": url}, "category": "Phishing"})).await.unwrap();
    complaints.is("cpl-1", Phase::Open).await;
    let id = format!("{}/cpl-1", cluster.namespace);
    assert!(explain().await.0.contains(&format!("{id} waits for a decision")), "{}", explain().await.0);
    complaints.patch("cpl-1", json!({"decision": "Acknowledged"})).await.unwrap();
    complaints.is("cpl-1", Phase::Enforced).await;
    let (step, message) = explain().await;
    assert!(step.contains(&format!("{id} keeps")) && step.contains("phishing"), "{step}");
    assert!(message.contains(&format!("kubectl adit lift -n {} cpl-1", cluster.namespace)), "{message}");
    complaints.patch("cpl-1", json!({"decision": "Lifted"})).await.unwrap();
    complaints.is("cpl-1", Phase::Lifted).await;
    assert!(explain().await.0.ends_with("none"), "{}", explain().await.0);
    assert_eq!(complaints.api.list(&ListParams::default()).await.unwrap().items.len(), 1);
}
