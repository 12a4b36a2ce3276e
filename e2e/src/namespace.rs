//! The namespace of a test.

use crate::{
    kubectl::{apply, get, kubectl, until},
    provider::{self, LABEL, Provider},
    region::{MappedPort, Region},
};
use serde_json::{Value, json};
use std::process::Command;
use tokio::sync::RwLockReadGuard;

/// A namespace with restricted Pod Security and the Secret of the relays' store.
///
/// When the test fails, its objects and logs are printed.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    _provider: Option<RwLockReadGuard<'static, Provider>>,
}

impl Namespace {
    /// Creates `e2e-<name>` for a test that shares the provider.
    pub async fn new(name: &str) -> Self {
        let provider = provider::shared().await;
        Self::create(name, Some(provider)).await
    }

    /// Creates `e2e-<name>` for a test that has the provider to itself.
    pub async fn with(_provider: &Provider, name: &str) -> Self {
        Self::create(name, None).await
    }

    async fn create(name: &str, provider: Option<RwLockReadGuard<'static, Provider>>) -> Self {
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

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Applies an object in the namespace.
    pub async fn apply(&self, mut object: Value) {
        object["metadata"]["namespace"] = json!(self.name);
        apply(&object).await;
    }

    /// Runs kubectl in the namespace. Panics with its output if it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", &self.name], arguments].concat()).await
    }

    /// An object of the namespace, if it exists.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        get(&["-n", &self.name, kind, name]).await
    }

    /// Objects of a kind with these labels.
    pub async fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let list = get(&["-n", &self.name, kind, "--selector", selector]).await;
        list.and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
    }

    /// Waits until an object fulfils `is_so`, and returns it.
    pub async fn until(&self, kind: &str, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{kind} {name} {what}"), async || {
            self.get(kind, name).await.filter(|object| is_so(object))
        })
        .await
    }

    /// Waits until a condition of an object's newest generation has this status, and returns the object.
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

    /// Applies a Region with two relays and a managed registry, which is reached from outside the cluster. `more` is merged
    /// into its spec (RFC 7396).
    pub async fn region(&self, name: &str, more: Value) -> Region {
        Region::apply(&self.name, name, MappedPort::take().await, more).await
    }

    /// Deletes the Regions and then the namespace, and waits until nothing is left.
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
        let show = |arguments: &[&str]| {
            let output = Command::new("kubectl").args(arguments).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("--- kubectl {}\n{}", arguments.join(" "), text.unwrap_or_default());
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
