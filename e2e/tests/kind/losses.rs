//! Lost pods under load.

use crate::published::{Published, limits};
use adit_e2e::{kubectl::until, namespace::Namespace};
use adit_testkit::soak::{Record, scale};
use serde_json::{Value, json};

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null() && conditions.iter().any(ready)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_force_deleted_relay_fails_only_its_own_requests() {
    let published = Published::new(Namespace::new("forced").await, json!({"limits": limits()})).await;
    let record = Record::begin("a relay's pod deleted with force, on Kubernetes");
    let load = published.load(scale(16, 64)).await;
    load.until_answered(500).await;
    let selector = "app.kubernetes.io/component=relay";
    let pods = published.namespace.list("pods", selector).await;
    let lost = pods[0]["metadata"]["name"].as_str().unwrap().to_owned();
    published.namespace.kubectl(&["delete", "pod", &lost, "--force", "--grace-period=0"]).await;
    until("there are two relays again", async || {
        let pods = published.namespace.list("pods", selector).await;
        (pods.iter().filter(|pod| is_ready(pod)).count() == 2
            && pods.iter().all(|pod| pod["metadata"]["name"] != lost.as_str()))
        .then_some(())
    })
    .await;
    published.namespace.condition("region", "eu", "Ready", "True").await;
    let so_far = load.failures().len();
    load.until_answered(scale(2_000, 50_000)).await;
    let (answered, failures) = load.stop().await;
    // Connections to that relay break, and a few new ones are led to it until all nodes know better. The relay that is
    // left never has to say that it cannot answer.
    let said: Vec<_> = failures.iter().filter(|failure| failure.contains("status")).collect();
    assert!(said.is_empty(), "of {answered}: {said:?}");
    assert_eq!(failures.len(), so_far, "of {answered}, once there are two again: {:?}", &failures[so_far..]);
    record.end(format!("{answered} requests, {so_far} failed with its connections"));
    published.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_registry_fails_no_request() {
    let published = Published::new(Namespace::new("registry").await, json!({"limits": limits()})).await;
    let selector = "app.kubernetes.io/component=registry";
    let load = published.load(8).await;
    load.until_answered(200).await;
    let pods = published.namespace.list("pods", selector).await;
    let lost = pods[0]["metadata"]["name"].as_str().unwrap().to_owned();
    published.namespace.kubectl(&["delete", "pod", &lost, "--force", "--grace-period=0"]).await;
    until("there is another registry", async || {
        let pods = published.namespace.list("pods", selector).await;
        pods.iter().any(|pod| is_ready(pod) && pod["metadata"]["name"] != lost.as_str()).then_some(())
    })
    .await;
    published.namespace.condition("region", "eu", "RegistryReachable", "True").await;
    // New claims reach relays that have no session of the client.
    let other = published.region.client("you", "other", published.service.address()).await;
    // A new relay knows only what the registry has.
    published
        .namespace
        .kubectl(&["patch", "region", "eu", "--type=merge", "-p", r#"{"spec":{"relays":{"replicas":3}}}"#])
        .await;
    until("there are three relays", async || {
        let region = published.namespace.get("region", "eu").await?;
        (region["status"]["relays"]["summary"] == "3/3").then_some(())
    })
    .await;
    load.until_answered(500).await;
    let (consumer, host) = (published.region.consumer("other").await, published.region.host("other"));
    for _ in 0..30 {
        assert_eq!(consumer.get(&host, "/").await.unwrap().status, 200);
    }
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:?}", failures.len());
    drop(other);
    published.end().await;
}
