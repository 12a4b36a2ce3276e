use super::*;
use crate::{Access, Limits, TcpPorts, check_format};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

fn problems<T: JsonSchema>(document: Value) -> Vec<String> {
    check(&of::<T>(), &document, check_format).problems.iter().map(ToString::to_string).collect()
}

fn read<T: JsonSchema + DeserializeOwned>(document: Value) -> T {
    let checked = check(&of::<T>(), &document, check_format);
    assert_eq!(checked.problems, []);
    serde_json::from_value(checked.tree.unwrap()).unwrap()
}

#[test]
fn all_problems_come_at_once_and_name_field_value_and_rule() {
    let document = json!({
        "tunels": 3, "sessions": -1, "names": 1.5, "streams": "many", "requestsPerSecond": null, "burst": [],
        "bodyBytes": "1 MB", "bufferBytes": -5, "responseTimeout": 30,
    });
    assert_eq!(
        problems::<Limits>(document),
        [
            "tunels: is not a known key; did you mean tunnels?",
            "bodyBytes: \"1 MB\" is not a size, which is written like 65536, 512KiB, 64MiB or 10MB",
            "bufferBytes: -5 is not a size, which is written like 65536, 512KiB, 64MiB or 10MB",
            "burst: a list is not a whole number from 1 to 10000000",
            "names: 1.5 is not a whole number from 1 to 100000",
            "requestsPerSecond: has no value: give it one, or leave the key out",
            "responseTimeout: 30 needs a unit, for example 30s",
            "sessions: -1 is not a whole number from 1 to 10000",
            "streams: \"many\" is not a whole number from 1 to 1000000",
        ]
    );
}

#[test]
fn what_is_missing_and_what_is_one_too_many_is_named() {
    assert_eq!(problems::<TcpPorts>(json!({"first": 1})), ["last: is missing"]);
    assert_eq!(problems::<TcpPorts>(json!([])), ["is a list: write key: value, without dashes"]);
    assert_eq!(
        problems::<Access>(
            json!({"tokens": {"managed": {}, "issuers": [{"issuer": "adit", "audience": ""}]}})
        ),
        [
            "tokens.issuers[0].audience: \"\" is empty",
            "tokens.issuers[0].issuer: \"adit\" stands for the provider's own tokens: write tokens: {managed: {}}",
            "tokens.issuers[0].keys: is missing",
        ]
    );
    let issuer = json!({"issuer": "https://id.example", "audience": "adit", "keys": "k"});
    assert_eq!(
        problems::<Access>(json!({"tokens": {"managed": {}, "issuers": [issuer]}})),
        ["tokens: has 2 of managed, issuers: give exactly one"]
    );
    assert_eq!(
        problems::<Access>(json!({"tokens": {}})),
        ["tokens: has none of managed, issuers: give exactly one"]
    );
    assert_eq!(
        problems::<Access>(json!({"tokens": {"manged": {}}})),
        ["tokens.manged: is not a known key; did you mean managed?"]
    );
    assert_eq!(
        problems::<Access>(json!({"tokens": "managed"})),
        ["tokens: \"managed\" is not a mapping with one of managed, issuers"]
    );
    assert_eq!(
        problems::<Access>(json!({"tokens": {"managed": {"key": 1}}})),
        ["tokens.managed.key: is not a known key; there are none here"]
    );
    assert_eq!(
        problems::<Access>(json!({"tokens": {"issuers": []}})),
        ["tokens.issuers: has 0 elements: the minimum is 1"]
    );
    assert_eq!(
        problems::<Access>(json!({"minimumClientVersion": "0.3"})),
        ["minimumClientVersion: \"0.3\" is not a version, which is written like 0.3.0"]
    );
}

#[test]
fn sections_survive_being_written_and_read() {
    fn survives<T: JsonSchema + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(document: Value) {
        let value: T = read(document);
        assert_eq!(read::<T>(serde_json::to_value(&value).unwrap()), value);
    }
    survives::<Limits>(json!({}));
    survives::<Limits>(Value::Null);
    survives::<Limits>(
        json!({"bodyBytes": 100, "bufferBytes": "8MiB", "responseTimeout": "1m30s", "burst": 7}),
    );
    survives::<TcpPorts>(json!({"first": 20000, "last": 20099}));
    survives::<Access>(json!({"tokens": {"managed": {}}, "minimumClientVersion": "0.3.0"}));
    survives::<Access>(json!({"tokens": {"managed": null}}));
    let issuer = json!({"issuer": "https://id.example", "audience": "adit", "keys": "k"});
    survives::<Access>(json!({"tokens": {"issuers": [issuer]}}));
    assert_eq!(read::<Limits>(json!({})), Limits::default());
}

#[test]
fn every_field_is_documented_and_every_number_has_a_range() {
    fn visit(schema: &Value, path: &Path) {
        for (name, property) in properties(schema) {
            let path = path.join(name.clone());
            let documented = |schema: &Value| schema.get("description").is_some();
            assert!(documented(property) || alternatives(schema).any(documented), "{path}");
            if matches!(Shape::of(property), Shape::Integer) {
                assert!(property.get("minimum").is_some() && property.get("maximum").is_some(), "{path}");
            }
            visit(property, &path);
        }
    }
    for schema in [of::<Limits>(), of::<TcpPorts>(), of::<Access>()] {
        visit(&schema, &Path::default());
    }
}
