//! Complaints that are edited after the decision, that contradict one another, and that name what keeps a URL offline.

use crate::{
    cluster::{Cluster, LONG, spec, until},
    complaints::{Desk, condition, deeds, migrated, place},
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

/// Some seconds from now, as a person writes it.
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
async fn what_is_edited_after_the_decision_is_carried_out_and_its_end_comes_by_itself() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let desk = Desk::new(&cluster);
    migrated(&desk).await;
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    let eu = place("eu.localhost", "a", &cluster.store);
    let mut bank = eu.client(folder.path(), "eve", "bank", &service);
    let mut shop = eu.client(folder.path(), "eve", "shop", &service);
    until("both are served", async || [eu.status("bank").await, eu.status("shop").await] == [200; 2]).await;
    desk.apply("cpl-1", acknowledged(json!({"hostname": "bank.eu.localhost"}))).await.unwrap();
    desk.is("cpl-1", Phase::Enforced).await;
    assert_eq!([eu.status("bank").await, eu.status("shop").await], [403; 2], "the account is offline");
    exit(&mut bank, folder.path(), "bank");
    exit(&mut shop, folder.path(), "shop");

    // No more than the one name any more: what else the account serves comes back.
    let edited = desk.patch("cpl-1", json!({"scope": "Hostname"})).await.unwrap();
    assert_eq!(edited.metadata.generation, Some(2));
    desk.is("cpl-1", Phase::Enforced).await;
    let _shop = eu.client(folder.path(), "eve", "shop", &service);
    until("the other name is served again", async || eu.status("shop").await == 200).await;
    let mut bank = eu.client(folder.path(), "eve", "bank", &service);
    exit(&mut bank, folder.path(), "bank");
    assert_eq!(eu.status("bank").await, 403);

    // It ends by itself, and begins again when its end is taken back.
    desk.patch("cpl-1", json!({"until": soon(2)})).await.unwrap();
    desk.is("cpl-1", Phase::Expired).await;
    let bank = eu.client(folder.path(), "eve", "bank", &service);
    until("the name is served again", async || eu.status("bank").await == 200).await;
    desk.patch("cpl-1", json!({"until": null})).await.unwrap();
    let again = desk.is("cpl-1", Phase::Enforced).await;
    assert_eq!(condition(&again, "Enforced").0, "True");
    assert_eq!([eu.status("bank").await, eu.status("shop").await], [403, 200]);
    drop(bank);
    let id = again.metadata.uid.unwrap();
    let store = adit_store::Store::open(&cluster.store.parse().unwrap()).unwrap();
    assert_eq!(
        deeds(&store, &id).await,
        ["filed", "acknowledged", "enforced", "changed", "changed", "changed"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_complaints_that_contradict_one_another_those_that_were_acknowledged_hold() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let desk = Desk::new(&cluster);
    migrated(&desk).await;
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    let eu = place("eu.localhost", "a", &cluster.store);
    let eve = json!({"account": "adit|eve"});
    for name in ["one", "two"] {
        desk.apply(name, acknowledged(eve.clone())).await.unwrap();
        desk.is(name, Phase::Enforced).await;
    }
    let is_out = async |when: &str| {
        let mut client = eu.client(folder.path(), "eve", "shop", &service);
        let ended = client.wait(Duration::from_secs(60)).and_then(|status| status.code());
        assert_eq!(ended, Some(5), "{when}: {}", cluster.log());
    };
    // A third one says that it is not right, a fourth that it is over, and neither of the first two does.
    for (name, decision, phase) in
        [("three", "Dismissed", Phase::Dismissed), ("four", "Lifted", Phase::Lifted)]
    {
        let spec = json!({"against": eve, "category": "Other", "decision": decision});
        desk.apply(name, spec).await.unwrap();
        let said = condition(&desk.is(name, phase).await, "Ready").2;
        assert!(said.contains("stays offline because of one, two"), "{name}: {said}");
        is_out(name).await;
    }
    // One of the two ends, and the other one is deleted twice: what stays in force is the one of a name anew.
    desk.patch("one", json!({"until": soon(1)})).await.unwrap();
    desk.is("one", Phase::Expired).await;
    is_out("one is over").await;
    desk.api.delete("two", &DeleteParams::default()).await.unwrap();
    until("it is gone", async || desk.api.get_opt("two").await.unwrap().is_none()).await;
    is_out("what is deleted stays").await;
    desk.apply("two", acknowledged(eve.clone())).await.unwrap();
    desk.is("two", Phase::Enforced).await;
    desk.patch("two", json!({"onDelete": "Lift"})).await.unwrap();
    desk.api.delete("two", &DeleteParams::default()).await.unwrap();
    until("it is gone", async || desk.api.get_opt("two").await.unwrap().is_none()).await;
    is_out("the first object of that name has left its suspension").await;
    // Whoever lifts what an account did lifts what has no object any more, too.
    desk.apply("free", json!({"against": eve, "category": "Other", "decision": "Lifted"})).await.unwrap();
    let free = condition(&desk.is("free", Phase::Lifted).await, "Ready").2;
    assert!(!free.contains("stays offline"), "{free}");
    let end = std::time::Instant::now() + LONG;
    let mut client = eu.client(folder.path(), "eve", "shop", &service);
    while eu.status("shop").await != 200 {
        assert!(std::time::Instant::now() < end, "it is never let in again: {}", cluster.log());
        // A relay hears a moment later that it is over.
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
    let desk = Desk::new(&cluster);
    let mut region = spec(&cluster.namespace);
    region["domain"] = json!(format!("{}.localhost", cluster.namespace));
    cluster.apply("eu", &region).await.unwrap();
    let url = format!("https://shop.{}.localhost/", cluster.namespace);
    let explain = async || {
        let (code, said) = cluster.kubectl_adit(&["explain", &url]).await;
        assert_eq!(code, Some(8), "nobody serves it: {said}");
        let step = said.lines().find(|line| line.contains("complaint")).map(str::to_owned);
        (step.unwrap_or_else(|| panic!("there is no such step: {said}")), said)
    };
    until("the Region is known", async || cluster.regions().get("eu").await.unwrap().status.is_some()).await;
    assert!(explain().await.0.ends_with("none"), "{}", explain().await.0);
    desk.apply("cpl-1", json!({"against": {"url": url}, "category": "Phishing"})).await.unwrap();
    desk.is("cpl-1", Phase::Open).await;
    let place = format!("{}/cpl-1", cluster.namespace);
    assert!(explain().await.0.contains(&format!("{place} waits for a decision")), "{}", explain().await.0);
    desk.patch("cpl-1", json!({"decision": "Acknowledged"})).await.unwrap();
    desk.is("cpl-1", Phase::Enforced).await;
    let (step, said) = explain().await;
    assert!(step.contains(&format!("{place} keeps")) && step.contains("phishing"), "{step}");
    assert!(said.contains(&format!("kubectl adit lift -n {} cpl-1", cluster.namespace)), "{said}");
    desk.patch("cpl-1", json!({"decision": "Lifted"})).await.unwrap();
    desk.is("cpl-1", Phase::Lifted).await;
    assert!(explain().await.0.ends_with("none"), "{}", explain().await.0);
    assert_eq!(desk.api.list(&ListParams::default()).await.unwrap().items.len(), 1);
}
