use super::*;

fn documented() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/relay.yaml")
}

/// `BLESS=1 cargo test -p adit-relay reference` writes the file anew.
#[test]
fn the_reference_in_docs_is_the_one_of_this_program() {
    if std::env::var_os("BLESS").is_some() {
        fs::write(documented(), crate::config::reference()).unwrap();
    }
    let found = fs::read_to_string(documented()).unwrap_or_default();
    assert!(
        found == crate::config::reference(),
        "docs/relay.yaml is stale: BLESS=1 cargo test -p adit-relay reference"
    );
}

#[test]
fn the_reference_is_valid_and_changes_no_default() {
    let place = ConfigFolder::new();
    let written = place.load(crate::config::reference(), &[]).unwrap();
    let bare = place.load("domain: adit.localhost\n", &[]).unwrap();
    assert_eq!(format!("{written:?}"), format!("{bare:?}"));
}

#[test]
fn the_reference_has_every_key_and_every_variable() {
    let text = crate::config::reference();
    for name in environment::names(&schema::of::<raw::RawConfig>()) {
        assert!(text.contains(&format!("{name}]")) || text.contains(&format!("{name},")), "{name}");
    }
}

#[test]
fn the_examples_are_valid_and_of_known_keys() {
    let schema = schema::of::<raw::RawConfig>();
    for (key, example) in crate::config::reference::EXAMPLES {
        let mut document = yaml::parse(example).root;
        for key in key.rsplit('.') {
            document = serde_json::json!({ key: document });
        }
        let problems = schema::check(&schema, &document, format::check).problems;
        let about = |text: &str| problems.iter().filter(|problem| problem.text.contains(text)).count();
        assert_eq!(about("is missing"), problems.len(), "{key}: {problems:?}");
    }
}

#[test]
fn every_key_is_documented_and_every_number_has_a_range() {
    fn visit(schema: &serde_json::Value, path: &Field) {
        for (name, property) in schema::properties(schema) {
            let path = path.join(name.clone());
            let documented = |schema: &serde_json::Value| schema.get("description").is_some();
            assert!(documented(property) || schema::alternatives(schema).any(documented), "{path}");
            let kind = property.get("type").map(ToString::to_string).unwrap_or_default();
            if kind.contains("integer") {
                assert!(property.get("minimum").is_some() && property.get("maximum").is_some(), "{path}");
            }
            visit(schema::section(property).unwrap_or(property), &path);
        }
    }
    visit(&schema::of::<raw::RawConfig>(), &Field::default());
}
