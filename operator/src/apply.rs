//! Makes objects as they should be: server-side apply, and deletes with preconditions. Nothing is written that is there.

use crate::{
    children::{Children, Meta, Place},
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
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;

/// The longest that one call to the API server may take.
pub const CALL: Duration = Duration::from_secs(10);

const POISONED: &str = "no code panics while it holds this lock";

/// A call to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused it, or could not be reached.
    #[error("cannot {verb} {} {name}", kind.as_str())]
    Call {
        /// What was to be done.
        verb: &'static str,
        /// The object's kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What came back.
        source: Box<kube::Error>,
    },
    /// It did not answer.
    #[error("the API server did not answer in {} s", CALL.as_secs())]
    Slow,
    /// An object of this name belongs to someone else.
    #[error("{} {name} is there already and does not belong to this Region", kind.as_str())]
    Foreign {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
}

impl ApplyError {
    /// Whether the API server has understood the call and will refuse it again: something else has to change first.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Call { source, .. } => {
                matches!(source.as_ref(), kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422))
            }
            Self::Foreign { .. } => true,
            Self::Slow => false,
        }
    }
}

/// What was applied last, and what the object was like then.
type Applied = (u64, Meta);

/// The same for all objects of a Region.
type AllApplied = HashMap<(Kind, String), Applied>;

/// Applies the objects of all Regions.
pub struct Applier {
    client: Client,
    children: Arc<Children>,
    applied: Mutex<HashMap<Place, AllApplied>>,
}

impl Applier {
    /// Nothing has been applied by this process yet.
    pub fn new(client: Client, children: Arc<Children>) -> Self {
        Self { client, children, applied: Mutex::default() }
    }

    /// What there is.
    pub fn children(&self) -> &Children {
        &self.children
    }

    /// The objects of one kind in a namespace.
    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    /// Makes one object as it should be, unless it is. Returns whether something was written.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn apply(
        &self,
        place: &Place,
        object: &Object,
        owner: &OwnerReference,
    ) -> Result<bool, ApplyError> {
        let manifest = object.manifest(&place.0, &place.1, owner);
        let wanted = hash(&manifest);
        let key = (object.kind, object.name.clone());
        let now = self.children.get(place, object.kind, &object.name);
        if self.is_applied(place, &key, wanted, now.as_ref()) {
            return Ok(false);
        }
        let api = self.api(object.kind, &place.0);
        let found = match now {
            Some(now) => Some(now),
            None => {
                call("read", object, api.get_opt(&object.name)).await?.map(|found| Meta::of(&found.metadata))
            }
        };
        let written = match found {
            // Someone else's object, or one that is on its way out, is not taken over.
            Some(meta) => {
                let foreign = || ApplyError::Foreign { kind: object.kind, name: object.name.clone() };
                if meta.owner.as_deref() != Some(owner.uid.as_str()) || meta.is_deleting {
                    return Err(foreign());
                }
                let params = PatchParams::apply(MANAGER).force();
                call("apply", object, api.patch(&object.name, &params, &Patch::Apply(&manifest))).await?
            }
            None if object.kind == Kind::Secret => {
                // What two operators made at once must not be mixed: the second one reads what the first has written.
                let new = serde_json::from_value(manifest).expect("a manifest is an object");
                let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
                call("create", object, api.create(&params, &new)).await?
            }
            None => {
                let params = PatchParams::apply(MANAGER).force();
                call("apply", object, api.patch(&object.name, &params, &Patch::Apply(&manifest))).await?
            }
        };
        let mut applied = self.applied.lock().expect(POISONED);
        applied.entry(place.clone()).or_default().insert(key, (wanted, Meta::of(&written.metadata)));
        Ok(true)
    }

    fn is_applied(&self, place: &Place, key: &(Kind, String), wanted: u64, now: Option<&Meta>) -> bool {
        let applied = self.applied.lock().expect(POISONED);
        let Some((before, meta)) = applied.get(place).and_then(|all| all.get(key)) else { return false };
        *before == wanted && now.is_some_and(|now| now.is_as(meta, key.0) || is_older(now, meta))
    }

    /// Sets how many pods a Deployment has, as a manager of its own: an autoscaler can take the field over, and when the
    /// operator no longer names it, it stays as it is.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn scale(&self, namespace: &str, name: &str, replicas: i32) -> Result<(), ApplyError> {
        let deployment = Object::new(Kind::Deployment, name.to_owned(), Value::Null);
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "namespace": namespace }, "spec": { "replicas": replicas },
        });
        let params = PatchParams::apply(REPLICAS_MANAGER).force();
        let api = self.api(Kind::Deployment, namespace);
        call("scale", &deployment, api.patch(name, &params, &Patch::Apply(&patch))).await.map(drop)
    }

    /// Deletes what the Region has and should not have. Returns what was deleted.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn prune(
        &self,
        place: &Place,
        owner: &OwnerReference,
        wanted: &BTreeSet<(Kind, String)>,
    ) -> Result<Vec<(Kind, String)>, ApplyError> {
        let mut deleted = Vec::new();
        for (kind, name, meta) in self.children.of(place) {
            let own = meta.owner.as_deref() == Some(owner.uid.as_str());
            if !own || meta.is_deleting || wanted.contains(&(kind, name.clone())) {
                continue;
            }
            self.delete(place, kind, &name, &meta.uid).await?;
            deleted.push((kind, name));
        }
        Ok(deleted)
    }

    /// Deletes one object, if it is still the same one.
    async fn delete(&self, place: &Place, kind: Kind, name: &str, uid: &str) -> Result<(), ApplyError> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let object = Object::new(kind, name.to_owned(), Value::Null);
        let deleted = call("delete", &object, self.api(kind, &place.0).delete(name, &params)).await;
        if let Some(all) = self.applied.lock().expect(POISONED).get_mut(place) {
            all.remove(&(kind, name.to_owned()));
        }
        match deleted {
            Err(ApplyError::Call { source, .. }) if is_gone(&source) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Forgets a Region that is gone.
    pub fn forget(&self, place: &Place) {
        self.applied.lock().expect(POISONED).remove(place);
    }
}

/// Whether the object is not there any more, or is another one of the same name.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}

/// The watch has not come as far as what was written last. Versions can be compared since Kubernetes 1.35, and were
/// numbers in order before.
fn is_older(now: &Meta, written: &Meta) -> bool {
    let number = |meta: &Meta| meta.resource_version.parse::<u128>().ok();
    number(now).zip(number(written)).is_some_and(|(now, written)| now < written)
}

fn hash(value: &Value) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// One call, within its time.
async fn call<T>(
    verb: &'static str,
    object: &Object,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    let (kind, name) = (object.kind, object.name.clone());
    match timeout(CALL, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) => Err(ApplyError::Call { verb, kind, name, source: Box::new(source) }),
        Err(_) => Err(ApplyError::Slow),
    }
}
