//! A namespace of a test's own.

use crate::{
    kubectl::{apply, get, kubectl, until},
    provider::{self, LABEL, Provider},
    region::{Entrance, Region},
};
use serde_json::{Value, json};
use std::process::Command;
use tokio::sync::RwLockReadGuard;

/// A namespace with restricted Pod Security and the Secret of the relays' store.
///
/// When its test fails, what is in it is printed.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    _provider: Option<RwLockReadGuard<'static, Provider>>,
}

impl Namespace {
    /// Makes `e2e-<name>`, with the provider beside other tests.
    pub async fn new(name: &str) -> Self {
        let provider = provider::shared().await;
        Self::made(name, Some(provider)).await
    }

    /// Makes `e2e-<name>` for a test that has the provider alone.
    pub async fn with(_provider: &Provider, name: &str) -> Self {
        Self::made(name, None).await
    }

    async fn made(name: &str, provider: Option<RwLockReadGuard<'static, Provider>>) -> Self {
        let namespace = Self { name: format!("e2e-{name}"), _provider: provider };
        let labels = json!({LABEL: "yes", "pod-security.kubernetes.io/enforce": "restricted"});
        apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": labels}}))
            .await;
        let url = "postgres://adit_relay:try-out-too@adit-postgres.adit-system.svc/adit";
        namespace
            .apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "adit-store-relay"}, "stringData": {"url": url}}))
            .await;
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Applies an object to it.
    pub async fn apply(&self, mut object: Value) {
        object["metadata"]["namespace"] = json!(self.name);
        apply(&object).await;
    }

    /// kubectl in it. Panics with what it says when it fails.
    pub async fn kubectl(&self, words: &[&str]) -> String {
        kubectl(&[&["-n", &self.name], words].concat()).await
    }

    /// One object of it, if it is there.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        get(&["-n", &self.name, kind, name]).await
    }

    /// Objects of a kind with these labels.
    pub async fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let list = get(&["-n", &self.name, kind, "--selector", selector]).await;
        list.and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
    }

    /// Waits until an object is so, and answers with it.
    pub async fn until(&self, kind: &str, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{kind} {name} {what}"), async || {
            self.get(kind, name).await.filter(|object| is_so(object))
        })
        .await
    }

    /// Waits until a condition of an object's newest generation has this status, and answers with the object.
    pub async fn condition(&self, kind: &str, name: &str, condition: &str, status: &str) -> Value {
        self.until(kind, name, &format!("is {condition}={status}"), |object| {
            let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            all.iter().any(|one| {
                one["type"] == condition
                    && one["status"] == status
                    && one["observedGeneration"] == object["metadata"]["generation"]
            })
        })
        .await
    }

    /// A Region whose relays are reached from outside: `<name>.adit.localhost`, two relays, a managed registry. `more`
    /// is merged into its spec (RFC 7396).
    pub async fn region(&self, name: &str, more: Value) -> Region {
        Region::apply(self, name, Entrance::take().await, more).await
    }

    /// Deletes its Regions, as a person does, then itself, and waits until nothing is left.
    pub async fn end(self) {
        self.kubectl(&["delete", "regions.adit.dev", "--all", "--timeout=180s"]).await;
        kubectl(&["delete", "namespace", &self.name, "--timeout=180s"]).await;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let show = |words: &[&str]| {
            let output = Command::new("kubectl").args(words).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("--- kubectl {}\n{}", words.join(" "), text.unwrap_or_default());
        };
        let here = ["-n", &self.name];
        show(&[&here[..], &["get", "regions,deployments,pods", "-o", "wide"]].concat());
        show(&[&here[..], &["get", "regions", "-o", "yaml"]].concat());
        show(&[&here[..], &["get", "certificates.adit.dev", "-o", "yaml"]].concat());
        show(
            &[&here[..], &["logs", "--selector=app=ca", "--all-containers", "--tail=60", "--prefix"]]
                .concat(),
        );
        show(&[&here[..], &["get", "events", "--sort-by=.lastTimestamp"]].concat());
        show(
            &[&here[..], &["logs", "--selector=app.kubernetes.io/component=relay", "--tail=40", "--prefix"]]
                .concat(),
        );
        show(&["-n", provider::NAMESPACE, "get", "pods", "-o", "wide"]);
        show(&[
            "-n",
            provider::NAMESPACE,
            "logs",
            "--selector=app.kubernetes.io/name=adit-operator",
            "--tail=80",
            "--prefix",
        ]);
    }
}
