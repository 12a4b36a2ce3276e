//! Applies desired objects: server-side apply, and deletes with preconditions. An object that is as it was applied is
//! not written again.

use crate::{
    api_server::{CallError, call},
    children::{Children, Meta},
    namespaced_name::NamespacedName,
    objects::{Kind, MANAGER, Object, REPLICAS_MANAGER},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

/// An object that could not be applied or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An object of this name exists and belongs to someone else, or is being deleted.
    #[error("{} {name} exists already and does not belong to this Region", kind.as_str())]
    NotOwned {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
}

impl ApplyError {
    /// Whether the same call will fail again until something else changes.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Call(error) => error.is_refusal(),
            Self::NotOwned { .. } => true,
        }
    }
}

/// A digest of the manifest that was applied last, and the object's metadata after that.
type Applied = (u64, Meta);

/// What was applied for one Region, by kind and name.
type AppliedObjects = HashMap<(Kind, String), Applied>;

/// Applies the objects of all Regions.
pub(crate) struct Applier {
    client: Client,
    children: Arc<Children>,
    applied: Mutex<HashMap<NamespacedName, AppliedObjects>>,
}

impl Applier {
    /// An applier that has applied nothing yet.
    pub(crate) fn new(client: Client, children: Arc<Children>) -> Self {
        Self { client, children, applied: Mutex::default() }
    }

    /// The metadata of the objects that exist.
    pub(crate) fn children(&self) -> &Children {
        &self.children
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    fn applied(&self) -> MutexGuard<'_, HashMap<NamespacedName, AppliedObjects>> {
        self.applied.lock().expect("no code panics while it holds this lock")
    }

    /// Applies one object of a Region, unless it is as it was applied. Returns whether it was written.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub(crate) async fn apply(
        &self,
        region: &NamespacedName,
        object: &Object,
        owner: &OwnerReference,
    ) -> Result<bool, ApplyError> {
        let manifest = object.manifest(region, owner);
        let digest = hash(&manifest);
        let key = (object.kind, object.name.clone());
        let watched = self.children.get(region, object.kind, &object.name);
        if self.is_applied(region, &key, digest, watched.as_ref()) {
            return Ok(false);
        }
        let (api, target) = (self.api(object.kind, &region.namespace), object.to_string());
        let existing = match watched {
            Some(meta) => Some(meta),
            None => {
                let found = call("read", &target, api.get_opt(&object.name)).await?;
                found.map(|found| Meta::of(&found.metadata))
            }
        };
        if let Some(meta) = &existing
            && (meta.owner.as_deref() != Some(owner.uid.as_str()) || meta.is_deleting)
        {
            return Err(ApplyError::NotOwned { kind: object.kind, name: object.name.clone() });
        }
        let written = if existing.is_none() && object.kind == Kind::Secret {
            // Two operators at once must not mix their Secrets: the second create fails, and reads what the first wrote.
            let new = serde_json::from_value(manifest).expect("a manifest is an object");
            let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            call("create", &target, api.create(&params, &new)).await?
        } else {
            let params = PatchParams::apply(MANAGER).force();
            call("apply", &target, api.patch(&object.name, &params, &Patch::Apply(&manifest))).await?
        };
        let applied = (digest, Meta::of(&written.metadata));
        self.applied().entry(region.clone()).or_default().insert(key, applied);
        Ok(true)
    }

    fn is_applied(
        &self,
        region: &NamespacedName,
        key: &(Kind, String),
        digest: u64,
        watched: Option<&Meta>,
    ) -> bool {
        let applied = self.applied();
        let Some((before, meta)) = applied.get(region).and_then(|all| all.get(key)) else { return false };
        *before == digest && watched.is_some_and(|now| now.is_as(meta, key.0) || is_older(now, meta))
    }

    /// Sets `spec.replicas` of a Deployment as a field manager of its own: an autoscaler can take the field over, and
    /// the number stays when the operator no longer names it.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub(crate) async fn scale(&self, namespace: &str, name: &str, replicas: i32) -> Result<(), ApplyError> {
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "namespace": namespace }, "spec": { "replicas": replicas },
        });
        let (params, patch) = (PatchParams::apply(REPLICAS_MANAGER).force(), Patch::Apply(&patch));
        let api = self.api(Kind::Deployment, namespace);
        call("scale", format!("Deployment {name}"), api.patch(name, &params, &patch)).await?;
        Ok(())
    }

    /// Deletes the objects of a Region that are not in `keep`. Returns which were deleted.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub(crate) async fn prune(
        &self,
        region: &NamespacedName,
        owner: &OwnerReference,
        keep: &BTreeSet<(Kind, String)>,
    ) -> Result<Vec<(Kind, String)>, ApplyError> {
        let mut deleted = Vec::new();
        for (kind, name, meta) in self.children.of(region) {
            let is_own = meta.owner.as_deref() == Some(owner.uid.as_str());
            if !is_own || meta.is_deleting || keep.contains(&(kind, name.clone())) {
                continue;
            }
            self.delete(region, kind, &name, &meta.uid).await?;
            deleted.push((kind, name));
        }
        Ok(deleted)
    }

    /// Deletes one object, if it is still the one with this uid.
    async fn delete(
        &self,
        region: &NamespacedName,
        kind: Kind,
        name: &str,
        uid: &str,
    ) -> Result<(), ApplyError> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api = self.api(kind, &region.namespace);
        let deleted = call("delete", format!("{} {name}", kind.as_str()), api.delete(name, &params)).await;
        if let Some(objects) = self.applied().get_mut(region) {
            objects.remove(&(kind, name.to_owned()));
        }
        match deleted {
            // It is gone, or another object has its name.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Forgets a Region that is gone.
    pub(crate) fn forget(&self, region: &NamespacedName) {
        self.applied().remove(region);
    }
}

/// Whether the watch has not yet seen what was written last. Resource versions are comparable since Kubernetes 1.35,
/// and were ordered numbers before.
fn is_older(watched: &Meta, written: &Meta) -> bool {
    let number = |meta: &Meta| meta.resource_version.parse::<u128>().ok();
    number(watched).zip(number(written)).is_some_and(|(watched, written)| watched < written)
}

fn hash(value: &Value) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
