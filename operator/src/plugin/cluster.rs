//! The cluster, as the person's kubeconfig and rights show it.

use super::{command_error::CommandError, command_line::CommandLine};
use crate::{
    api_server::{CallError, call, scoped_api},
    controller::NamespacedName,
    region::ObjectNames,
};
use adit_api::{Complaint, Region};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{authentication::v1::SelfSubjectReview, core::v1::ConfigMap},
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::DeserializeGuard,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{fmt::Debug, time::Duration};

/// The field manager of the plugin's changes.
const FIELD_MANAGER: &str = "kubectl-adit";
/// Maximum duration of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The API server, with the namespace that the command line or the context names.
pub(super) struct Cluster {
    client: Client,
    /// The value of `--namespace`.
    namespace: Option<String>,
    /// The context's namespace.
    default_namespace: String,
}

impl Cluster {
    /// Connects as kubectl does: by `--kubeconfig` and `--context`, else by `KUBECONFIG` or `~/.kube/config`, else by the
    /// service account of the pod.
    pub(super) async fn connect(line: &CommandLine) -> Result<Self, CommandError> {
        let mut config = config(line).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // A person sees a failure sooner than 15 attempts end.
        config.default_retry = false;
        let default_namespace = config.default_namespace.clone();
        let client = Client::try_from(config)
            .map_err(|error| CommandError::unreachable("cannot use the kubeconfig", &error))?;
        Ok(Self { client, namespace: line.namespace.clone(), default_namespace })
    }

    /// The client of the API server.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace of `--namespace`, else the context's.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(&self.default_namespace)
    }

    /// The objects of a kind in the namespace of `--namespace`, or in all. Objects of another version are left out.
    pub(super) async fn list<K>(&self) -> Result<Vec<K>, CallError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.list_in(self.namespace.as_deref()).await
    }

    async fn list_in<K>(&self, namespace: Option<&str>) -> Result<Vec<K>, CallError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = scoped_api::<DeserializeGuard<K>>(&self.client, namespace);
        let list = call("list", K::plural(&()), api.list(&ListParams::default())).await?;
        Ok(list.items.into_iter().filter_map(|guarded| guarded.0.ok()).collect())
    }

    /// The object of this name in the namespace.
    pub(super) async fn get<K>(&self, name: &str) -> Result<K, CommandError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = scoped_api::<K>(&self.client, Some(self.namespace()));
        let found = call("read", format!("{} {name}", K::kind(&())), api.get_opt(name)).await?;
        found.ok_or_else(|| self.not_found::<K>(name))
    }

    fn not_found<K: Resource<DynamicType = ()>>(&self, name: &str) -> CommandError {
        let (code, plural) = match K::kind(&()).as_ref() {
            "Certificate" => ("no_certificate", "certificates"),
            _ => ("no_complaint", "complaints"),
        };
        let what = format!("there is no {} {name:?} in namespace {:?}", K::kind(&()), self.namespace());
        CommandError::usage(code, what, format!("kubectl adit {plural}, then add --namespace NAME"))
    }

    /// Changes an object in the namespace. With `dry_run` the API server only checks the change.
    pub(super) async fn merge_patch<K>(
        &self,
        name: &str,
        patch: &Value,
        dry_run: bool,
    ) -> Result<K, CallError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = scoped_api::<K>(&self.client, Some(self.namespace()));
        let params =
            PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        call("change", format!("{} {name}", K::kind(&())), api.patch(name, &params, &patch)).await
    }

    /// The Region of this name in the namespace, or its only one.
    pub(super) async fn region(&self, name: Option<&str>) -> Result<Region, CommandError> {
        let namespace = self.namespace();
        let mut regions: Vec<Region> = self.list_in(Some(namespace)).await?;
        regions.retain(|region| name.is_none_or(|name| region.name_any() == name));
        if regions.len() > 1 {
            let names: Vec<_> = regions.iter().map(ResourceExt::name_any).collect();
            let what = format!("namespace {namespace:?} has several Regions: {}", names.join(", "));
            return Err(CommandError::usage("which_region", what, "add the name of one of them"));
        }
        regions.pop().ok_or_else(|| {
            let what = match name {
                Some(name) => format!("there is no Region {name:?} in namespace {namespace:?}"),
                None => format!("there is no Region in namespace {namespace:?}"),
            };
            let next = "kubectl get regions --all-namespaces, then add --namespace NAME";
            CommandError::usage("no_region", what, next)
        })
    }

    /// The Complaints of all namespaces, or of as many as the person may read: a Complaint takes effect in every Region,
    /// whatever its namespace.
    pub(super) async fn visible_complaints(&self) -> Result<Vec<Complaint>, CallError> {
        match self.list_in(None).await {
            Ok(complaints) => Ok(complaints),
            Err(_) => self.list().await,
        }
    }

    /// The person's name, as the API server knows it; empty if it does not say.
    pub(super) async fn user_name(&self) -> String {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let created = call("create", "SelfSubjectReview", api.create(&PostParams::default(), &review)).await;
        let user = created.ok().and_then(|review| review.status?.user_info?.username);
        user.unwrap_or_default()
    }

    /// The certificate of a Region's development CA, in PEM.
    pub(super) async fn development_ca(&self, region: &NamespacedName) -> Option<String> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &region.namespace);
        let name = ObjectNames(&region.name).ca();
        let map = call("read", format!("ConfigMap {name}"), api.get_opt(&name)).await.ok()??;
        map.data?.remove("ca.crt")
    }
}

async fn config(line: &CommandLine) -> Result<Config, CommandError> {
    let options = KubeConfigOptions { context: line.context.clone(), ..KubeConfigOptions::default() };
    let unusable =
        |error: &dyn std::error::Error| CommandError::unreachable("cannot use the kubeconfig", error);
    let kubeconfig = match (&line.kubeconfig, &line.context) {
        (Some(path), _) => Kubeconfig::read_from(path),
        (None, Some(_)) => Kubeconfig::read(),
        (None, None) => return Config::infer().await.map_err(|error| unusable(&error)),
    };
    let kubeconfig = kubeconfig.map_err(|error| unusable(&error))?;
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error))
}

/// An object's namespace and name. Objects from the API server have both.
pub(super) fn id_of(object: &impl ResourceExt) -> NamespacedName {
    NamespacedName::new(object.namespace().unwrap_or_default(), object.name_any())
}
