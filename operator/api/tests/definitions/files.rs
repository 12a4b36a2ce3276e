//! The files in crds/, and the structure of the schemas.

use serde_json::Value;
use std::path::Path;

#[test]
fn the_files_in_crds_match_the_types() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    for (file, text) in adit_api::yaml() {
        let found = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        assert!(found == text, "crds/{file} is stale: make crds");
    }
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), adit_api::crds().len(), "a file without a kind");
}

/// Every schema of a definition, with its path.
fn schemas<'a>(path: String, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    found.push((path.clone(), schema));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        schemas(format!("{path}.{name}"), property, found);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            schemas(format!("{path}[]"), &schema[key], found);
        }
    }
}

#[test]
fn schemas_are_structural() {
    for (file, crd) in adit_api::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let text = root.to_string();
        assert!(!text.contains("$ref"), "{file}");
        let mut found = Vec::new();
        schemas(file.to_owned(), root, &mut found);
        for (path, schema) in found {
            let typed = schema["type"].is_string()
                || schema["x-kubernetes-int-or-string"] == true
                || schema["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(typed, "{path} has no type: {schema}");
            assert_ne!(schema["additionalProperties"], false, "{path}");
            assert!(
                schema.get("default").is_none_or(|value| !value.is_null()),
                "{path} has null for a default"
            );
            let format = schema["format"].as_str().unwrap_or("date-time");
            assert!(["date-time", "int32", "int64", "double"].contains(&format), "{path}: {format}");
        }
    }
}
