//! A namespace, an operator for it, and what the tests ask.

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

/// The longest that anything is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(180);

/// The Secret of the operator's own key, which belongs to no Region.
const OWN_KEY: &str = "adit-operator-key";

/// A namespace of a test's own.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) store: String,
    folder: tempfile::TempDir,
}

/// The definitions are installed once for all tests.
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
    /// A namespace with the Secret of the relays' store.
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

    /// An operator of this namespace.
    pub(crate) fn operator(&self) -> Child {
        self.operator_at(&KubeApiserver::shared().url())
    }

    /// An operator that reaches the API server by another address.
    pub(crate) fn operator_at(&self, url: &str) -> Child {
        self.operator_as(url, "one")
    }

    /// An operator of its own name: it leads once nobody else does.
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

    /// `kubectl adit`, as a person calls it in this namespace: its code, and what it printed.
    pub(crate) async fn kubectl_adit(&self, words: &[&str]) -> (Option<i32>, String) {
        let kubeconfig = self.folder.path().join("person.kubeconfig");
        let server = KubeApiserver::shared();
        std::fs::write(&kubeconfig, server.kubeconfig_for(&server.url())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-adit"));
        command.args(["--namespace", &self.namespace]).args(words).env("KUBECONFIG", kubeconfig);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// What the operators have logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("operator.log")).unwrap_or_default()
    }

    pub(crate) fn regions(&self) -> Api<Region> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The same, those that the types cannot hold included.
    fn untyped(&self) -> Api<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<Region>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// The objects of a kind that the operator has made of a Region: name and object.
    pub(crate) async fn objects(&self, kind: adit_operator::objects::Kind) -> BTreeMap<String, Value> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource());
        let list =
            api.list(&ListParams::default().labels("app.kubernetes.io/managed-by=adit-operator")).await;
        let object = |object: DynamicObject| {
            (object.metadata.name.clone().unwrap(), serde_json::to_value(&object).unwrap())
        };
        let mut all: BTreeMap<_, _> = list.unwrap().items.into_iter().map(object).collect();
        all.remove(OWN_KEY);
        all
    }

    /// All objects that the operator has made of a Region: kind and name.
    pub(crate) async fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for kind in adit_operator::objects::Kind::ALL {
            names.extend(self.objects(kind).await.keys().map(|name| format!("{} {name}", kind.as_str())));
        }
        names
    }

    /// Applies a Region as a person does.
    pub(crate) async fn apply(&self, name: &str, spec: &Value) -> kube::Result<DynamicObject> {
        let region = json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Region", "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("person").force();
        self.untyped().patch(name, &params, &Patch::Apply(&region)).await
    }

    /// Waits until a condition of a Region has this status and reason.
    pub(crate) async fn wait_for(&self, region: &str, kind: &str, status: &str, reason: &str) {
        let end = Instant::now() + LONG;
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

    /// Plays the Deployment's controller: says that all pods of the newest template are ready.
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

/// The spec that most tests begin with.
pub(crate) fn spec(namespace: &str) -> Value {
    json!({
        "domain": format!("{namespace}.example.com"),
        "relays": {"replicas": 2, "drainTimeout": "5s"},
        "exposure": {"type": "ClusterIP"},
        "store": {"relaySecretRef": {"name": "store", "key": "url"}},
    })
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    until_within(LONG, what, is_so).await;
}

/// As [`until`], with another patience.
pub(crate) async fn until_within(patience: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + patience;
    while !is_so().await {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
