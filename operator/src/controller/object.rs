//! What every controller writes to its own objects: finalizers and the status.

use crate::{
    api_server::{CallError, call, scoped_api},
    namespaced_name::{NamespacedName, UnnamedObject},
    objects::MANAGER,
};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::fmt::Debug;

/// Writes to one object of kind `K` by server-side apply. An object that is gone meanwhile is not an error.
#[derive(Clone)]
pub(crate) struct ObjectClient<K> {
    api: Api<K>,
    id: NamespacedName,
    uid: Option<String>,
}

impl<K> ObjectClient<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    /// A client for this object.
    ///
    /// # Errors
    /// [`UnnamedObject`].
    pub(crate) fn new(client: &Client, object: &K) -> Result<Self, UnnamedObject> {
        let id = NamespacedName::of(object)?;
        Ok(Self { api: scoped_api(client, Some(&id.namespace)), id, uid: object.uid() })
    }

    /// Adds a finalizer to the object, unless it has it.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn add_finalizer(&self, object: &K, finalizer: &str) -> Result<(), CallError> {
        if has_finalizer(object, finalizer) { Ok(()) } else { self.set_finalizers(&[finalizer]).await }
    }

    /// Removes the operator's finalizer, so that the API server can delete the object.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn remove_finalizer(&self) -> Result<(), CallError> {
        self.set_finalizers(&[]).await
    }

    async fn set_finalizers(&self, finalizers: &[&str]) -> Result<(), CallError> {
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": { "name": self.id.name, "uid": self.uid, "finalizers": finalizers },
        });
        let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&patch));
        let written = self.api.patch(&self.id.name, &params, &patch);
        unless_gone(call("write the finalizers of", self.target(), written).await)
    }

    /// Writes the status. With a `resource_version` the write fails with 409 if the object has changed since.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn patch_status(
        &self,
        status: &impl Serialize,
        resource_version: Option<String>,
    ) -> Result<(), CallError> {
        let mut patch = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status });
        if let Some(version) = resource_version {
            patch["metadata"] = json!({ "resourceVersion": version });
        }
        let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&patch));
        let written = self.api.patch_status(&self.id.name, &params, &patch);
        unless_gone(call("write the status of", self.target(), written).await)
    }

    fn target(&self) -> String {
        format!("{} {}", K::kind(&()), self.id)
    }
}

/// Whether an object has a finalizer.
pub(super) fn has_finalizer(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.finalizers().iter().any(|one| one == finalizer)
}

fn unless_gone<T>(written: Result<T, CallError>) -> Result<(), CallError> {
    match written {
        Err(error) if error.code() == Some(404) => Ok(()),
        other => other.map(drop),
    }
}
