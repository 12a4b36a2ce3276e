//! Turns the schemas of Rust types into structural schemas, with every format as a CEL rule.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Maximum length of a text whose schema has none. CEL rules need one, because it bounds their cost.
const MAX_TEXT_BYTES: u64 = 1024;

/// Makes the schema of a derived definition structural, and turns the formats of adit-config into CEL rules.
///
/// # Panics
/// Never: a definition has a JSON form.
pub fn structural(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition has a JSON form");
    let versions = value["spec"]["versions"].as_array_mut();
    for version in versions.expect("a definition has versions") {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        walk(schema);
        // The API server must not add fields to a status.
        without_defaults(&mut schema["properties"]["status"]);
    }
    serde_json::from_value(value).expect("it is still a definition")
}

/// CEL rules, each with its message.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect()
}

fn walk(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    // A structural schema cannot forbid unknown fields. Strict field validation refuses them, else they are pruned.
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    // The API server removes null values, so rules and types see an absent field.
    fields.remove("nullable");
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        // The extension implies the types.
        fields.remove("anyOf");
        fields.remove("type");
    }
    format(fields);
    for key in ["items", "additionalProperties", "not"] {
        fields.get_mut(key).into_iter().for_each(walk);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        fields.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(walk);
    }
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(walk);
}

fn without_defaults(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("default");
    fields.get_mut("items").into_iter().for_each(without_defaults);
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(without_defaults);
}

/// The rules that replace a format.
struct Rules {
    max_length: Option<u64>,
    rules: &'static [(&'static str, &'static str)],
}

fn format(fields: &mut Map<String, Value>) {
    let Some(name) = fields.get("format").and_then(Value::as_str).map(str::to_owned) else { return };
    if matches!(name.as_str(), "date-time" | "int32" | "int64" | "double") {
        return;
    }
    fields.remove("format");
    let Some(Rules { max_length, rules }) = rules_of(&name) else { return };
    if let Some(max) = max_length {
        fields.entry("maxLength").or_insert_with(|| json!(max.min(MAX_TEXT_BYTES)));
    }
    let validations = fields.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    let list = validations.as_array_mut().expect("validations are a list");
    list.extend(crate::schema::rules(rules).as_array().into_iter().flatten().cloned());
}

fn rules_of(format: &str) -> Option<Rules> {
    let (max_length, rules): (_, &[_]) = match format {
        adit_config::name::FORMAT => (Some(189), DNS_NAME),
        adit_config::duration::FORMAT => (Some(32), DURATION),
        adit_config::version::FORMAT => (Some(64), VERSION),
        adit_config::access::ISSUER_FORMAT => (Some(256), ISSUER),
        adit_config::size::FORMAT => (None, SIZE),
        CIDR_FORMAT => (Some(43), CIDR),
        NAME_TO_CERTIFY_FORMAT => (Some(253), NAME_TO_CERTIFY),
        HTTPS_URL_FORMAT => (Some(1024), HTTPS_URL),
        _ => return None,
    };
    Some(Rules { max_length, rules })
}

/// The format of a network in CIDR notation.
pub(crate) const CIDR_FORMAT: &str = "cidr";
/// The format of a DNS name that a certificate can have, including wildcards.
pub(crate) const NAME_TO_CERTIFY_FORMAT: &str = "name-to-certify";
/// The format of an https URL whose host is a name.
pub(crate) const HTTPS_URL_FORMAT: &str = "https-url";

/// The schema of a certificate's DNS name.
pub(crate) struct NameToCertify;
/// The schema of a network.
pub(crate) struct Cidr;

impl JsonSchema for NameToCertify {
    fn schema_name() -> Cow<'static, str> {
        "NameToCertify".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": NAME_TO_CERTIFY_FORMAT })
    }
}

impl JsonSchema for Cidr {
    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": CIDR_FORMAT })
    }
}

const DNS_NAME: &[(&str, &str)] = &[
    ("!self.startsWith('*.')", "has a wildcard: write the domain without it"),
    (
        "self.matches('^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')",
        "is not a domain, which has labels of a-z, 0-9 and '-', like tunnels.example.com",
    ),
    ("!self.matches('(^|[.])[0-9]+$')", "is an IP address, not a domain"),
];
const DURATION: &[(&str, &str)] = &[(
    "self.matches('^([0-9]{1,12}(ms|s|m|h|d))+$')",
    "is not a duration, which is written like 500ms, 30s, 1m30s, 1h or 7d",
)];
const VERSION: &[(&str, &str)] = &[(
    "self.matches('^(0|[1-9][0-9]{0,9})[.](0|[1-9][0-9]{0,9})[.](0|[1-9][0-9]{0,9})(-[0-9A-Za-z.-]+)?([+][0-9A-Za-z.-]+)?$')",
    "is not a version, which is written like 0.3.0",
)];
const ISSUER: &[(&str, &str)] = &[
    ("size(self) > 0", "is empty"),
    ("self != 'adit'", "stands for the provider's own tokens: write tokens: {managed: {}}"),
    ("!self.contains('|')", "has a '|'"),
];
const SIZE: &[(&str, &str)] = &[(
    "string(self).matches('^[0-9]{1,13}([KMG]iB?|[kMG]?B)?$')",
    "is not a size, which is written like 65536, 512KiB, 64MiB or 10MB",
)];
const CIDR: &[(&str, &str)] = &[(
    "self.matches('^(([0-9]{1,3}[.]){3}[0-9]{1,3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)/[0-9]{1,3}$')",
    "is not a network, which is written like 10.0.0.0/8",
)];
const NAME_TO_CERTIFY: &[(&str, &str)] = &[
    (
        "self.matches('^([*][.])?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')",
        "is not a DNS name, which is written like www.example.com or *.example.com",
    ),
    ("!self.matches('(^|[.])[0-9]+$')", "is an IP address, not a DNS name"),
];
const HTTPS_URL: &[(&str, &str)] = &[
    ("self.startsWith('https://')", "is not a URL by https"),
    (
        "self.matches('^https://([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?[.])*[a-zA-Z][a-zA-Z0-9-]*(:[0-9]{1,5})?(/[^ ]*)?$')",
        "does not name its host: IP addresses, user names and passwords are not allowed",
    ),
];
