//! The provider: the operator, installed with the chart, and its Postgres.

use crate::kubectl::{get, helm, kubectl, run};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The namespace of the operator and of Postgres.
pub const NAMESPACE: &str = "adit-system";
/// The release, and the operator's Deployment.
pub const RELEASE: &str = "adit";
/// The label of the tests' namespaces, and of their release.
pub(crate) const LABEL: &str = "adit-e2e";

/// The provider of this run.
#[derive(Debug)]
pub struct Provider(());

static PROVIDER: OnceCell<RwLock<Provider>> = OnceCell::const_new();

async fn provider() -> &'static RwLock<Provider> {
    PROVIDER
        .get_or_init(|| async {
            clear().await;
            kubectl(&["apply", "-f", "docs/examples/postgres.yaml"]).await;
            rollout("adit-postgres").await;
            let provider = Provider(());
            provider.install(&[]).await;
            RwLock::new(provider)
        })
        .await
}

/// The provider, shared with other tests. The first test installs it.
pub async fn shared() -> RwLockReadGuard<'static, Provider> {
    provider().await.read().await
}

/// The provider for one test, which may change it and leaves it installed.
pub async fn exclusive() -> RwLockWriteGuard<'static, Provider> {
    provider().await.write().await
}

impl Provider {
    /// Installs or upgrades the operator, and waits until it runs.
    pub async fn install(&self, values: &[&str]) {
        let image = crate::required_variable("OPERATOR_IMAGE");
        let (repository, tag) = image.split_once(':').expect("an image has a tag");
        let sets = [
            format!("image.repository={repository}"),
            format!("image.tag={tag}"),
            format!("relayImage={}", crate::required_variable("RELAY_IMAGE")),
            "log.level=info\\,adit_operator=debug".to_owned(),
        ];
        // `make kind` removes releases with this label: helm would reuse these values, and the images are gone.
        let label = format!("{LABEL}=yes");
        let mut arguments = vec!["upgrade", "--install", RELEASE, "charts/adit", "--namespace", NAMESPACE];
        arguments.extend(["--labels", &label]);
        for set in sets.iter().map(String::as_str).chain(values.iter().copied()) {
            arguments.extend(["--set", set]);
        }
        helm(&arguments).await;
        rollout(RELEASE).await;
    }

    /// Uninstalls the operator.
    pub async fn uninstall(&self) {
        helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]).await;
    }
}

async fn rollout(deployment: &str) {
    let deployment = format!("deployment/{deployment}");
    kubectl(&["-n", NAMESPACE, "rollout", "status", &deployment, "--timeout=180s"]).await;
}

/// Removes the objects of earlier runs, and every Region of the cluster, because their ports are those of the tests.
async fn clear() {
    helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--ignore-not-found"]).await;
    // Without the operator, nobody removes the finalizers.
    for kind in ["regions.adit.dev", "complaints.adit.dev", "certificates.adit.dev"] {
        remove_all(kind).await;
    }
    kubectl(&["delete", "namespace", "--ignore-not-found", "--timeout=180s", NAMESPACE, "tunnels"]).await;
    let label = format!("{LABEL}=yes");
    let all = ["delete", "namespace", "--timeout=180s", "--selector", &label];
    run("kubectl", &all, "").await.unwrap_or_else(|error| panic!("{error}"));
}

async fn remove_all(kind: &str) {
    if get(&["crd", kind]).await.is_none() {
        return;
    }
    let list = get(&[kind, "--all-namespaces"]).await;
    let items = list.as_ref().and_then(|list| list["items"].as_array()).cloned().unwrap_or_default();
    for item in items {
        let text =
            |field: &str| item["metadata"][field].as_str().expect("an object has the field").to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let object = ["-n", &namespace, kind, &name];
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        kubectl(&[&["patch", "--type=merge", "-p", patch], &object[..]].concat()).await;
        kubectl(&[&["delete", "--ignore-not-found"], &object[..]].concat()).await;
    }
}
