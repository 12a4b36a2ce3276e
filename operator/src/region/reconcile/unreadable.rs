//! A Region that cannot be read: one that an API server took before it knew today's rules, or that they do not cover.

use super::{AGAIN, Context, ReconcileError, jittered};
use crate::{apply::CALL, objects::MANAGER};
use adit_api::Region;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::error_boundary::InvalidObject,
    runtime::controller::Action,
};
use serde_json::{Value, json};

/// Says in its conditions why it is left alone. All that it has stays as it is.
pub(super) async fn say(invalid: &InvalidObject, context: &Context) -> Result<Action, ReconcileError> {
    let meta = &invalid.metadata;
    let (namespace, name) = meta.namespace.clone().zip(meta.name.clone()).ok_or(ReconcileError::Nameless)?;
    let api: Api<DynamicObject> = Api::namespaced_with(
        context.client.clone(),
        &namespace,
        &kube::api::ApiResource::erase::<Region>(&()),
    );
    let failed = |error| ReconcileError::Region("status", Box::new(error));
    let found = tokio::time::timeout(CALL, api.get_opt(&name)).await.map_err(|_| ReconcileError::Slow)?;
    let Some(found) = found.map_err(failed)? else { return Ok(Action::await_change()) };
    let old = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let new = conditions(&old, meta.generation, &invalid.error, Timestamp::now());
    if old != new {
        let patch = Patch::Merge(json!({ "status": { "conditions": new } }));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let written = tokio::time::timeout(CALL, api.patch_status(&name, &params, &patch)).await;
        written.map_err(|_| ReconcileError::Slow)?.map_err(failed)?;
    }
    Ok(Action::requeue(jittered(AGAIN)))
}

/// The conditions with `Ready` as it has to be, the others as they were.
fn conditions(old: &[Value], generation: Option<i64>, error: &str, now: Timestamp) -> Vec<Value> {
    let is_ready = |condition: &&Value| condition["type"] == "Ready";
    let since = old.iter().find(is_ready).filter(|ready| ready["status"] == "False");
    let since = since.map_or_else(|| json!(now), |ready| ready["lastTransitionTime"].clone());
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "InvalidSpec", "message": format!("cannot be read: {error}"),
        "observedGeneration": generation, "lastTransitionTime": since,
    });
    std::iter::once(ready).chain(old.iter().filter(|one| !is_ready(one)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_not_said_twice() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = conditions(&[json!({"type": "Progressing"})], Some(1), "bad", at(1));
        assert_eq!((first.len(), &first[0]["reason"]), (2, &json!("InvalidSpec")));
        assert_eq!(conditions(&first, Some(1), "bad", at(2)), first);
        assert_ne!(conditions(&first, Some(1), "worse", at(2)), first);
    }
}
