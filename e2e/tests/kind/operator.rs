//! Upgrades and uninstallation of the operator do not affect relays.

use crate::published::{Published, limits};
use adit_e2e::{kubectl::kubectl, namespace::Namespace, provider};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_upgrade_restarts_no_relay() {
    let provider = provider::exclusive().await;
    let namespace = Namespace::with(&provider, "operator").await;
    let published = Published::new(namespace, json!({"limits": limits()})).await;
    let before = published.pods().await;
    let load = published.load(8).await;
    load.until_answered(200).await;

    provider.install(&["podAnnotations.e2e=upgraded", "relayImage=adit-relay:of-a-later-operator"]).await;
    // The new operator has reconciled the Region once it has corrected a drifted object.
    let drift = r#"{"spec":{"sessionAffinity":"ClientIP"},"metadata":{"labels":{"app.kubernetes.io/instance":"other"}}}"#;
    published.namespace.kubectl(&["patch", "service", "eu-relay", "--type=merge", "-p", drift]).await;
    published
        .namespace
        .until("service", "eu-relay", "has its label again", |service| {
            service["metadata"]["labels"]["app.kubernetes.io/instance"] == "eu"
        })
        .await;
    assert_eq!(published.pods().await, before, "an upgrade starts no relay anew");

    provider.uninstall().await;
    assert!(
        kubectl(&["get", "crd", "regions.adit.dev", "-o", "name"]).await.contains("regions"),
        "the definitions stay"
    );
    load.until_answered(500).await;
    assert_eq!(published.pods().await, before, "relays stay when the chart goes");

    provider.install(&[]).await;
    published.namespace.condition("region", "eu", "Ready", "True").await;
    assert_eq!(published.pods().await, before);
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:?}", failures.len());
    adit_e2e::kubectl::helm(&["test", provider::RELEASE, "--namespace", provider::NAMESPACE]).await;
    published.end().await;
}
