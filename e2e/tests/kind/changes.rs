//! Changes of a Region under load.

use crate::published::{Published, limits};
use adit_e2e::{kubectl::until, namespace::Namespace};
use adit_testkit::soak::{Record, scale};
use serde_json::{Value, json};

/// Number of consumers during a rolling update.
const CONSUMERS: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_under_load_fails_no_request() {
    let published = Published::new(Namespace::new("rolling").await, json!({"limits": limits()})).await;
    let before = published.pods().await;
    let record = Record::begin("a rolling update of all relays, on Kubernetes");
    let load = published.load(CONSUMERS).await;
    load.until_answered(500).await;
    let rounds = scale(1, 3);
    for round in (0..rounds).map(|round| round.to_string()) {
        let roll = json!({"spec": {"relays": {"podAnnotations": {"round": round}}}}).to_string();
        published.namespace.kubectl(&["patch", "region", "eu", "--type=merge", "-p", &roll]).await;
        until("all relays are new ones", async || {
            let pods = published.namespace.list("pods", "app.kubernetes.io/component=relay").await;
            let is_new = |pod: &Value| pod["metadata"]["annotations"]["round"] == round.as_str();
            (pods.len() == 2 && pods.iter().all(is_new)).then_some(())
        })
        .await;
    }
    published.namespace.condition("region", "eu", "Ready", "True").await;
    load.until_answered(500).await;
    while load.answered() < scale(0, 100_000) {
        load.until_answered(1_000).await;
    }
    let (answered, failures) = load.stop().await;
    assert!(
        failures.is_empty(),
        "{} of {answered}: {:?}",
        failures.len(),
        &failures[..failures.len().min(20)]
    );
    let after = published.pods().await;
    assert!(before.iter().all(|old| !after.contains(old)), "{before:?} {after:?}");
    record.end(format!("{answered} requests on {CONSUMERS} connections, {rounds} updates, 0 failed"));
    published.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_reach_relays_without_a_restart() {
    let published = Published::new(Namespace::new("limits").await, json!({})).await;
    let before = published.pods().await;
    let change = r#"{"spec":{"limits":{"requestsPerSecond":1}}}"#;
    let revision = published.namespace.get("region", "eu").await.unwrap()["status"]["configRevision"].clone();
    published.namespace.kubectl(&["patch", "region", "eu", "--type=merge", "-p", change]).await;
    published
        .namespace
        .until("region", "eu", "has its new configuration on all relays", |region| {
            let now = &region["status"]["configRevision"];
            now["revision"] != revision["revision"] && now["summary"] == "2/2"
        })
        .await;
    let consumer = published.region.consumer("shop").await;
    let host = published.region.host("shop");
    until("requests are limited", async || {
        let answer = consumer.get(&host, "/").await.ok()?;
        (answer.status == 429).then_some(())
    })
    .await;
    assert_eq!(published.pods().await, before);
    published.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_region_drains_and_leaves_nothing() {
    let published = Published::new(Namespace::new("deleted").await, json!({})).await;
    let consumer = published.region.consumer("shop").await;
    let host = published.region.host("shop");
    let service = &published.service;
    let before = service.requests();
    let slow = tokio::spawn(async move { consumer.get(&host, "/slow/8000").await });
    until("the request has come", async || (service.requests() > before).then_some(())).await;
    published.namespace.kubectl(&["delete", "region", "eu", "--wait=false"]).await;
    let answer = slow.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "slow"));
    let Published { namespace, client, .. } = published;
    drop(client);
    until("the region is gone", async || namespace.get("region", "eu").await.is_none().then_some(())).await;
    let kinds = "deployments,services,secrets,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,pods";
    until("nothing is left", async || {
        namespace.list(kinds, "adit.dev/region").await.is_empty().then_some(())
    })
    .await;
    namespace.end().await;
}
