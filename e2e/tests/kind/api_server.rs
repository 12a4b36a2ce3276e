//! An outage of the API server.

use crate::published::{Published, limits};
use adit_e2e::{
    kubectl::{run, until},
    namespace::Namespace,
    provider,
};
use adit_testkit::soak::{Record, scale};
use serde_json::json;
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const NODE: &str = "adit-control-plane";
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const ASIDE: &str = "/kind/kube-apiserver.yaml";

/// An outage of the API server, which ends when this is dropped, also by a failed test.
struct Away;

impl Away {
    /// Begins the outage by moving the static pod's manifest. The kubelet ends the pod a moment later.
    async fn begin() -> Self {
        run("docker", &["exec", NODE, "mv", MANIFEST, ASIDE], "").await.unwrap();
        let away = Self;
        until("the API server is gone", async || (!answers().await).then_some(())).await;
        away
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let mut command = Command::new("docker");
        command.args(["exec", NODE, "mv", ASIDE, MANIFEST]).stdin(Stdio::null());
        assert!(command.status().is_ok_and(|status| status.success()), "the API server stays away");
    }
}

async fn answers() -> bool {
    run("kubectl", &["get", "--raw", "/readyz", "--request-timeout=2s"], "").await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_api_server_fails_no_request() {
    let provider = provider::exclusive().await;
    let namespace = Namespace::with(&provider, "apiserver").await;
    let published = Published::new(namespace, json!({"limits": limits()})).await;
    let before = published.pods().await;
    let (ca, token) = (published.region.ca().await, published.region.token("you").await);
    let load = published.load(8).await;
    load.until_answered(200).await;

    let record = Record::begin("no API server for two minutes, on Kubernetes");
    let (away, since) = (Away::begin().await, Instant::now());
    // A client can connect meanwhile: relays need only the registry and the store.
    let other = published.region.client_with(&ca, &token, "other", published.service.address()).await;
    load.until_answered(500).await;
    while since.elapsed() < Duration::from_secs(scale(0, 120)) {
        load.until_answered(100).await;
    }
    drop(away);
    until("the API server is back", async || answers().await.then_some(())).await;
    let back = Instant::now();
    // The definitions and the operator's Lease may need a moment longer than the server.
    let change = r#"{"spec":{"relays":{"podAnnotations":{"round":"later"}},"limits":{"tunnels":7}}}"#;
    let words = ["-n", published.namespace.name(), "patch", "region", "eu", "--type=merge", "-p", change];
    until("a change is taken", async || run("kubectl", &words, "").await.ok()).await;
    until("the operator has made it", async || {
        let deployment = published.namespace.get("deployment", "eu-relay").await?;
        (deployment["spec"]["template"]["metadata"]["annotations"]["round"] == "later").then_some(())
    })
    .await;
    let converged = back.elapsed();
    until("the new relays run", async || {
        let pods = published.pods().await;
        (pods.len() == 2 && before.iter().all(|old| !pods.contains(old))).then_some(())
    })
    .await;
    published.namespace.condition("region", "eu", "Ready", "True").await;
    load.until_answered(200).await;
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:?}", failures.len());
    record.end(format!(
        "{answered} requests, 0 failed, changes made {:.1} s after its return",
        converged.as_secs_f64()
    ));
    drop(other);
    published.end().await;
}
