//! Regions that cannot be read: an API server accepted them before it had today's rules, or the rules do not cover them.

use crate::{
    api_server::{CallError, call},
    controller::{NamespacedName, ReconcileError, UnnamedObject},
    objects::MANAGER,
};
use adit_api::Region;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::error_boundary::InvalidObject,
};
use serde_json::{Value, json};

/// Writes the condition `Ready` of an unreadable Region. Its objects stay as they are.
pub(super) async fn patch_status(client: &Client, invalid: &InvalidObject) -> Result<(), ReconcileError> {
    let meta = &invalid.metadata;
    let (namespace, name) = meta.namespace.as_ref().zip(meta.name.as_ref()).ok_or(UnnamedObject)?;
    let id = NamespacedName::new(namespace, name);
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Region>(&()));
    let Some(found) = call("read", format!("Region {id}"), api.get_opt(name)).await? else { return Ok(()) };
    let old = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let new = conditions(&old, meta.generation, &invalid.error, Timestamp::now());
    if old != new {
        write_conditions(&api, &id, &new).await?;
    }
    Ok(())
}

async fn write_conditions(
    api: &Api<DynamicObject>,
    id: &NamespacedName,
    conditions: &[Value],
) -> Result<(), CallError> {
    let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let written = api.patch_status(&id.name, &params, &patch);
    call("write the status of", format!("Region {id}"), written).await.map(drop)
}

/// The conditions with a new `Ready`; the others stay as they are.
fn conditions(old: &[Value], generation: Option<i64>, error: &str, now: Timestamp) -> Vec<Value> {
    let is_ready = |condition: &&Value| condition["type"] == "Ready";
    let unchanged = old.iter().find(is_ready).filter(|ready| ready["status"] == "False");
    let since = unchanged.map_or_else(|| json!(now), |ready| ready["lastTransitionTime"].clone());
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "InvalidSpec",
        "message": format!("The Region cannot be read: {error}"),
        "observedGeneration": generation, "lastTransitionTime": since,
    });
    std::iter::once(ready).chain(old.iter().filter(|one| !is_ready(one)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_condition_is_not_written_again() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = conditions(&[json!({"type": "Progressing"})], Some(1), "bad", at(1));
        assert_eq!((first.len(), &first[0]["reason"]), (2, &json!("InvalidSpec")));
        assert_eq!(conditions(&first, Some(1), "bad", at(2)), first);
        assert_ne!(conditions(&first, Some(1), "worse", at(2)), first);
    }
}
