//! The fixture of the cluster tests: a namespace, an operator for it, and its objects.

use adit_api::Region;
use adit_testkit::{kube_apiserver::KubeApiserver, postgres::Postgres, process::Child};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::OnceCell;

/// Maximum time to wait for a state.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(180);

/// The Secret of the operator's own key, which belongs to no Region.
const OPERATOR_KEY_SECRET: &str = "adit-operator-key";

/// The namespace of a test.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) store: String,
    folder: tempfile::TempDir,
}

/// Installs the definitions, once for all tests.
async fn install(client: &Client) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_init(|| async {
            let api: Api<CustomResourceDefinition> = Api::all(client.clone());
            for (_, crd) in adit_api::crds() {
                let name = crd.metadata.name.clone().unwrap();
                api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
                until(&format!("{name} is served"), async || {
                    let status = api.get(&name).await.unwrap().status;
                    let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
                    conditions.iter().any(|one| one.type_ == "Established" && one.status == "True")
                })
                .await;
            }
        })
        .await;
}

pub(crate) async fn client_of(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

impl Cluster {
    /// Creates a namespace with the Secret of the relays' store.
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = tokio::task::spawn_blocking(KubeApiserver::shared).await.unwrap();
        let store = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
        let client = client_of(&server.kubeconfig_for(&server.url())).await;
        install(&client).await;
        let namespace = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let new: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &new).await.unwrap();
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "store"}, "stringData": {"url": store}}))
                .unwrap();
        Api::namespaced(client.clone(), &namespace).create(&PostParams::default(), &secret).await.unwrap();
        Self { client, namespace, store, folder: tempfile::tempdir().unwrap() }
    }

    /// Starts an operator for the namespace.
    pub(crate) fn operator(&self) -> Child {
        self.operator_at(&KubeApiserver::shared().url())
    }

    /// Starts an operator that reaches the API server at another address.
    pub(crate) fn operator_at(&self, url: &str) -> Child {
        self.operator_as(url, "one")
    }

    /// Starts an operator with its own identity. It waits for the Lease.
    pub(crate) fn operator_as(&self, url: &str, identity: &str) -> Child {
        let kubeconfig: PathBuf = self.folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, KubeApiserver::shared().kubeconfig_for(url)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit-operator"));
        command
            .args([
                "--namespace",
                &self.namespace,
                "--lease-namespace",
                &self.namespace,
                "--identity",
                identity,
            ])
            .args(["--listen-ops", "127.0.0.1:0", "--relay-image", "relay:1", "--log-format", "text"])
            .args(["--dns-resolvers", "127.0.0.1:1"])
            .env("ADIT_OPERATOR_STORE_URL", &self.store)
            .env("ADIT_LOG", "info,adit_operator=debug")
            .env("KUBECONFIG", &kubeconfig);
        Child::start_with_output(&command, &self.folder.path().join("operator.log"))
    }

    /// Runs `kubectl adit` in the namespace. Returns its exit code and its output.
    pub(crate) async fn kubectl_adit(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let kubeconfig = self.folder.path().join("person.kubeconfig");
        let server = KubeApiserver::shared();
        std::fs::write(&kubeconfig, server.kubeconfig_for(&server.url())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-adit"));
        command.args(["--namespace", &self.namespace]).args(arguments).env("KUBECONFIG", kubeconfig);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The log of the operators.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("operator.log")).unwrap_or_default()
    }

    pub(crate) fn regions(&self) -> Api<Region> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Regions, including those that the types cannot represent.
    fn untyped(&self) -> Api<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<Region>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// The operator's objects of a kind, by name.
    pub(crate) async fn objects(&self, kind: adit_operator::objects::Kind) -> BTreeMap<String, Value> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource());
        let list =
            api.list(&ListParams::default().labels("app.kubernetes.io/managed-by=adit-operator")).await;
        let object = |object: DynamicObject| {
            (object.metadata.name.clone().unwrap(), serde_json::to_value(&object).unwrap())
        };
        let mut all: BTreeMap<_, _> = list.unwrap().items.into_iter().map(object).collect();
        all.remove(OPERATOR_KEY_SECRET);
        all
    }

    /// The kinds and names of all of the operator's objects.
    pub(crate) async fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for kind in adit_operator::objects::Kind::ALL {
            names.extend(self.objects(kind).await.keys().map(|name| format!("{} {name}", kind.as_str())));
        }
        names
    }

    /// Applies a Region with the field manager of a person.
    pub(crate) async fn apply(&self, name: &str, spec: &Value) -> kube::Result<DynamicObject> {
        let region = json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Region", "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("person").force();
        self.untyped().patch(name, &params, &Patch::Apply(&region)).await
    }

    /// Waits until a condition of a Region has this status and reason.
    pub(crate) async fn wait_for(&self, region: &str, kind: &str, status: &str, reason: &str) {
        let end = Instant::now() + MAX_WAIT;
        let api = self.untyped();
        loop {
            let found = api.get(region).await.unwrap();
            let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let condition = conditions.into_iter().find(|condition| condition["type"] == kind);
            let generation = json!(found.metadata.generation);
            if condition.as_ref().is_some_and(|one| {
                one["status"] == status && one["reason"] == reason && one["observedGeneration"] == generation
            }) {
                return;
            }
            assert!(Instant::now() < end, "{kind} is {condition:?}; {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes the status of a Deployment whose pods are all ready, in place of its controller.
    pub(crate) async fn make_ready(&self, deployment: &str) {
        let api: Api<k8s_openapi::api::apps::v1::Deployment> =
            Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get(deployment).await.unwrap();
        let replicas = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = json!({"status": {"observedGeneration": found.metadata.generation, "replicas": replicas,
            "readyReplicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}});
        api.patch_status(deployment, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }
}

/// The spec of most tests.
pub(crate) fn spec(namespace: &str) -> Value {
    json!({
        "domain": format!("{namespace}.example.com"),
        "relays": {"replicas": 2, "drainTimeout": "5s"},
        "exposure": {"type": "ClusterIP"},
        "store": {"relaySecretRef": {"name": "store", "key": "url"}},
    })
}

/// Waits until `is_so` holds.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    until_within(MAX_WAIT, what, is_so).await;
}

/// Waits until `is_so` holds, for a given time.
pub(crate) async fn until_within(max_wait: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + max_wait;
    while !is_so().await {
        assert!(Instant::now() < end, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
