//! Every configuration and custom resource of documents and examples is one that its program accepts.

use crate::{
    markdown,
    sources::{self, Source},
};
use adit_relay::config::Config;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// What a YAML text is for.
#[derive(Debug, PartialEq, Eq)]
enum Use {
    RelayYaml,
    AditYaml,
    Resource,
}

fn use_of(text: &str) -> Use {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    if has("apiVersion:") {
        Use::Resource
    } else if has("tunnels:") || has("relay:") {
        Use::AditYaml
    } else {
        Use::RelayYaml
    }
}

/// Why a text is refused, one line each; empty: it is accepted.
fn problems(text: &str) -> Vec<String> {
    match use_of(text) {
        Use::Resource => resources(text).iter().flat_map(resource).collect(),
        Use::AditYaml => adit::cli::check_file(text, Path::new(".")).err().unwrap_or_default(),
        Use::RelayYaml => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("relay.yaml");
            let is_whole = text.lines().any(|line| line.starts_with("domain:"));
            let domain = if is_whole { "" } else { "domain: tunnels.example.com\n" };
            std::fs::write(&path, format!("{domain}{text}")).unwrap();
            let errors = Config::load(Some(&path), std::iter::empty()).err();
            let errors = errors.iter().flat_map(|errors| errors.iter()).map(ToString::to_string);
            // The files that a document names are not on this machine.
            errors.filter(|error| !is_about_a_missing_file(error)).collect()
        }
    }
}

fn is_about_a_missing_file(error: &str) -> bool {
    ["No such file", "does not exist"].iter().any(|words| error.contains(words))
}

fn resources(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).expect("it is YAML")).collect()
}

/// What the definition of a custom resource says of an object; nothing of other objects.
fn resource(object: &Value) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let is_ours = object["apiVersion"].as_str().is_some_and(|version| version.starts_with("adit.dev/"));
    let definition = adit_api::crds().into_iter().find(|(_, crd)| is_ours && crd.spec.names.kind == kind);
    let Some((_, definition)) = definition else {
        return if is_ours { vec![format!("there is no kind {kind}")] } else { vec![] };
    };
    let definition = serde_json::to_value(definition).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut found = Vec::new();
    unknown_fields(kind, &schema["properties"]["spec"], &object["spec"], &mut found);
    let object = kube_cel::apply_defaults(schema, object);
    let errors = kube_cel::Validator::new().validate(schema, &object, None).err();
    let errors = errors.map(|errors| errors.into_vec()).unwrap_or_default();
    found.extend(errors.iter().map(|error| format!("{kind}: {}: {}", error.field_path, error.message)));
    found
}

fn unknown_fields(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match (schema["properties"].get(name), &schema["additionalProperties"]) {
                    (Some(schema), _) => unknown_fields(&path, schema, value, found),
                    (None, Value::Null) if schema["x-kubernetes-preserve-unknown-fields"] != true => {
                        found.push(format!("{path}: unknown field"));
                    }
                    (None, schema) => unknown_fields(&path, schema, value, found),
                }
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| unknown_fields(path, &schema["items"], item, found));
        }
        _ => {}
    }
}

fn yaml_blocks(source: &Source) -> Vec<(String, String)> {
    let (blocks, _) = markdown::split(&source.text);
    let blocks = blocks.into_iter().filter(|block| block.language == "yaml");
    blocks.map(|block| (format!("{}:{}", source.path, block.line), block.text)).collect()
}

#[test]
fn configurations_in_documents_and_examples_are_accepted() {
    let mut texts: Vec<_> = sources::documents().iter().flat_map(yaml_blocks).collect();
    texts
        .extend(sources::below("docs/examples", "yaml").into_iter().map(|source| (source.path, source.text)));
    texts.push(("docs/relay.yaml".into(), sources::read("docs/relay.yaml").text));
    assert!(texts.len() >= 12, "only {} texts were found", texts.len());
    let refused: Vec<_> = texts
        .iter()
        .flat_map(|(place, text)| problems(text).into_iter().map(move |why| format!("{place}: {why}")))
        .collect();
    assert!(refused.is_empty(), "refused:\n  {}", refused.join("\n  "));
}

#[test]
fn a_configuration_with_a_mistake_is_found() {
    for text in [
        "domain: eu.example.com\nlimit: {tunnels: 1}\n",
        "tls:\n  certificates:\n    - {cert: a.pem, keys: a.key}\n",
        "relay: eu.example.com\ntunnels: {shop: {htp: 3000}}\n",
        "apiVersion: adit.dev/v1alpha1\nkind: Region\nmetadata: {name: eu}\nspec: {domain: eu.example.com, replica: 2}\n",
        "apiVersion: adit.dev/v1alpha1\nkind: Area\n",
    ] {
        assert!(!problems(text).is_empty(), "{text} is accepted");
    }
}
