//! Unusual Complaints: about unknown names, twice, expired, contradictory, edited, deleted; and a relay without the store.

use crate::published::Published;
use adit_e2e::{
    kubectl::{run, until},
    namespace::Namespace,
};
use serde_json::{Value, json};
use std::{
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Applies a Complaint.
async fn apply(namespace: &Namespace, name: &str, spec: Value) {
    namespace
        .apply(json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Complaint", "metadata": {"name": name}, "spec": spec}))
        .await;
}

async fn patch(namespace: &Namespace, name: &str, spec: Value) {
    let patch = json!({ "spec": spec }).to_string();
    namespace.kubectl(&["patch", &format!("cpl/{name}"), "--type", "merge", "-p", &patch]).await;
}

/// Waits until a Complaint is in a phase, for its newest generation.
async fn is(namespace: &Namespace, name: &str, phase: &str) -> Value {
    namespace
        .until("complaint", name, &format!("is {phase}"), |object| {
            object["status"]["phase"] == phase
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await
}

fn message<'a>(complaint: &'a Value, kind: &str) -> (&'a str, &'a str, &'a str) {
    let all = complaint["status"]["conditions"].as_array();
    let one = all.into_iter().flatten().find(|one| one["type"] == kind).unwrap();
    let text = |field: &str| one[field].as_str().unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}

fn acknowledged(against: Value) -> Value {
    json!({"against": against, "category": "Phishing", "decision": "Acknowledged"})
}

async fn delete(namespace: &Namespace, name: &str) {
    namespace.kubectl(&["delete", &format!("complaints.adit.dev/{name}"), "--timeout=120s"]).await;
}

/// A unique account, because suspensions of earlier runs stay in the store.
fn eve() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("eve-{}", now.as_millis())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusual_complaints_are_enforced_and_explained() {
    let published = Published::new(Namespace::new("odd").await, json!({})).await;
    let (namespace, region) = (&published.namespace, &published.region);
    let bank = format!("bank.{}", region.domain());
    let account = eve();
    let against = json!({"account": format!("adit|{account}")});

    // Two about an unknown name, and an expired one.
    let unseen = acknowledged(json!({"hostname": format!("new.{}", region.domain())}));
    apply(namespace, "unseen", unseen.clone()).await;
    assert_eq!(message(&is(namespace, "unseen", "Enforced").await, "Ready").1, "NotYetSeen");
    apply(namespace, "again", unseen.clone()).await;
    let again = is(namespace, "again", "Enforced").await;
    let said = message(&again, "Ready").2;
    assert!(said.contains("is kept offline by") && said.contains("unseen"), "{again}");
    let mut over = unseen.clone();
    over["until"] = json!("2020-01-01T00:00:00Z");
    apply(namespace, "over", over).await;
    is(namespace, "over", "Expired").await;

    // Two take an account offline; explain names one of them.
    let mut client = region.client(&account, "bank", published.service.address()).await;
    apply(namespace, "one", acknowledged(json!({"hostname": bank}))).await;
    is(namespace, "one", "Enforced").await;
    let ended = client.process.wait(Duration::from_secs(60)).and_then(|ended| ended.code());
    assert_eq!(ended, Some(5), "{}", client.output());
    let explained = region.adit(&["explain", &format!("{}/", client.url)]).await.unwrap_err();
    let held = format!("{}/one keeps account adit|{account} offline: phishing", namespace.name());
    assert!(explained.contains("exit status: 8") && explained.contains(&held), "{explained}");

    // A contradicting one does not lift it.
    apply(namespace, "no", json!({"against": against, "category": "Other", "decision": "Dismissed"})).await;
    let no = is(namespace, "no", "Dismissed").await;
    assert!(message(&no, "Ready").2.contains("stays offline because of one"), "{no}");
    for (spec, words) in [
        (json!({"decision": "Pending"}), "cannot be Pending again"),
        (json!({"against": {"hostname": "x.example.com"}}), "cannot be changed"),
    ] {
        let patch = json!({ "spec": spec }).to_string();
        let words_of = ["-n", namespace.name(), "patch", "cpl/one", "--type", "merge", "-p", &patch];
        let refused = run("kubectl", &words_of, "").await.unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }

    // Edited to the host name; then it expires.
    patch(namespace, "one", json!({"scope": "Hostname"})).await;
    is(namespace, "one", "Enforced").await;
    let _other = region.client_after_suspension(&account, "other", published.service.address()).await;
    patch(namespace, "one", json!({"until": "2020-01-01T00:00:00Z"})).await;
    is(namespace, "one", "Expired").await;
    let back = region.client_after_suspension(&account, "bank", published.service.address()).await;
    region.wait_served("bank").await;

    // Deleted: the suspension stays, unless the object says otherwise.
    apply(namespace, "two", acknowledged(against.clone())).await;
    is(namespace, "two", "Enforced").await;
    delete(namespace, "two").await;
    apply(namespace, "three", acknowledged(against.clone())).await;
    let three = is(namespace, "three", "Enforced").await;
    assert!(message(&three, "Ready").2.contains("is kept offline by two too"), "{three}");
    apply(namespace, "free", json!({"against": against, "category": "Other", "decision": "Lifted"})).await;
    let free = is(namespace, "free", "Lifted").await;
    assert!(message(&free, "Ready").2.contains("stays offline because of three"), "{free}");
    patch(namespace, "three", json!({"onDelete": "Lift"})).await;
    delete(namespace, "three").await;
    drop(back);
    let _back = region.client_after_suspension(&account, "bank", published.service.address()).await;
    region.wait_served("bank").await;
    for name in ["unseen", "again"] {
        patch(namespace, name, json!({"decision": "Lifted"})).await;
        is(namespace, name, "Lifted").await;
    }
    namespace.kubectl(&["delete", "complaints.adit.dev", "--all", "--timeout=60s"]).await;
    published.end().await;
}

/// Blocks the traffic from a pod to an address until this is dropped.
struct Cut {
    node: String,
    words: Vec<String>,
}

impl Cut {
    async fn begin(pod: &Value, address: &str) -> Self {
        let node = pod["spec"]["nodeName"].as_str().unwrap().to_owned();
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap();
        let id = id.rsplit('/').next().unwrap();
        let tasks = run("docker", &["exec", &node, "ctr", "-n", "k8s.io", "task", "ls"], "").await.unwrap();
        let pid =
            tasks.lines().find(|line| line.starts_with(id)).and_then(|line| line.split_whitespace().nth(1));
        let words = ["nsenter", "-t", pid.unwrap(), "-n", "ip", "route"].map(str::to_owned).to_vec();
        let cut = Self { node, words: [words, vec![format!("{address}/32")]].concat() };
        assert!(cut.route("add"), "the pod cannot be cut off");
        cut
    }

    fn route(&self, what: &str) -> bool {
        let (address, start) = self.words.split_last().unwrap();
        let mut command = Command::new("docker");
        command.args(["exec", &self.node]).args(start).args([what, "blackhole", address]);
        command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        assert!(self.route("del") || std::thread::panicking(), "the pod stays cut off");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_the_store_enforces_what_its_peers_know() {
    let published = Published::new(Namespace::new("cut-off").await, json!({})).await;
    let (namespace, region) = (&published.namespace, &published.region);
    let account = eve();
    let mut client = region.client(&account, "bank", published.service.address()).await;
    region.wait_served("bank").await;
    let words = ["-n", "adit-system", "get", "service", "adit-postgres", "-o", "jsonpath={.spec.clusterIP}"];
    let store = run("kubectl", &words, "").await.unwrap();
    let pods = namespace.list("pods", "app.kubernetes.io/component=relay").await;
    let name = pods[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let cut = Cut::begin(&pods[0], store.trim()).await;

    apply(namespace, "cpl-1", acknowledged(json!({"account": format!("adit|{account}")}))).await;
    // Relays that other tests have killed count until they are proven gone.
    let named = |object: &Value| {
        let all = object["status"]["conditions"].as_array();
        all.into_iter().flatten().any(|one| {
            let said = one["message"].as_str().unwrap_or_default();
            one["type"] == "Enforced" && one["status"] == "False" && said.contains(&name)
        })
    };
    namespace.until("complaint", "cpl-1", "names the relay", named).await;
    // The client is offline on both relays; the one that has not confirmed is named all the same.
    let ended = client.process.wait(Duration::from_secs(120)).and_then(|ended| ended.code());
    assert_eq!(ended, Some(5), "{}", client.output());
    let (consumer, host) = (region.consumer("bank").await, region.host("bank"));
    until("no relay serves it", async || {
        for _ in 0..12 {
            consumer.get(&host, "/").await.ok().filter(|answer| answer.status == 403)?;
        }
        Some(())
    })
    .await;
    let found = namespace.get("complaint", "cpl-1").await.unwrap();
    assert!(named(&found), "{found}");
    drop(cut);
    is(namespace, "cpl-1", "Enforced").await;
    // Other clients were not affected.
    region.wait_served("shop").await;
    namespace.kubectl(&["delete", "complaints.adit.dev", "--all", "--timeout=60s"]).await;
    published.end().await;
}
