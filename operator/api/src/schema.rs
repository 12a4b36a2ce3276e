//! From the schemas of Rust's types to ones that an API server takes: structural, with every format as a rule.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The most bytes of a text whose schema names no bound: rules need one, so that their cost is bounded.
const MAX_TEXT: u64 = 1024;

/// Makes a derived definition's schema structural, and says the formats of adit-config in CEL.
///
/// # Panics
/// Never: a definition that was read can be written.
pub fn structural(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition has a JSON form");
    let versions = value["spec"]["versions"].as_array_mut();
    for version in versions.expect("a definition has versions") {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        walk(schema);
        // What the operator has not said is not said by the API server either.
        without_defaults(&mut schema["properties"]["status"]);
    }
    serde_json::from_value(value).expect("it is still a definition")
}

/// Rules in CEL, each with its message.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect()
}

fn walk(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    // Unknown fields are refused by strict field validation, or pruned: a structural schema cannot forbid them.
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    // What is null is left out by the API server, and so it is absent for rules and types alike.
    fields.remove("nullable");
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        // kubectl and the API server know what this extension allows.
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

/// What stands in place of a format.
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
    if let Some(most) = max_length {
        fields.entry("maxLength").or_insert_with(|| json!(most.min(MAX_TEXT)));
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

/// A network, as relay.yaml's `proxyProtocol.trustedCIDRs` has it.
pub(crate) const CIDR_FORMAT: &str = "cidr";
/// A DNS name that a certificate can have, wildcards included.
pub(crate) const NAME_TO_CERTIFY_FORMAT: &str = "name-to-certify";
/// A URL by HTTPS to a host that has a name.
pub(crate) const HTTPS_URL_FORMAT: &str = "https-url";

/// The schema of a name of a certificate.
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
