//! Applies the rules of a definition to an object.

use serde_json::Value;

/// The schema of a kind.
pub(super) fn schema(kind: &str) -> Value {
    let crd = adit_api::crds().into_iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap().1;
    serde_json::to_value(crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The rules that an object, or a change to it, breaks: `field: message`.
pub(super) fn broken(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = schema(kind);
    let object = kube_cel::apply_defaults(&schema, object);
    let old = old.map(|old| kube_cel::apply_defaults(&schema, old));
    let checked = kube_cel::Validator::new().validate(&schema, &object, old.as_ref());
    let errors = checked.err().map(|errors| errors.into_vec()).unwrap_or_default();
    errors.iter().map(|error| format!("{}: {}", error.field_path, error.message)).collect()
}

/// The object with one field set, given by a path like `spec.relays.replicas`.
pub(super) fn with(object: &Value, path: &str, value: Value) -> Value {
    let mut object = object.clone();
    let field = path.split('.').fold(&mut object, |at, key| &mut at[key]);
    *field = value;
    object
}
