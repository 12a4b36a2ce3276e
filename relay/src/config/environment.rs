//! ADIT_* variables, laid over the tree of relay.yaml.

use super::{ConfigError, origins::VariableOrigins};
use adit_config::{
    Path,
    environment::{PREFIX, is_known, is_service_link, unknown, variable},
    problem::{Step, quoted},
    schema, yaml,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The short form of `ADIT_LOG_LEVEL`.
pub(super) const LOG_VARIABLE: &str = "ADIT_LOG";
/// The most bytes of one variable that are read.
const MAX_VARIABLE_BYTES: usize = 64 * 1024;

/// The `ADIT_*` variables of this process. What is not UTF-8 is marked, and [`super::Config::load`] refuses it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
}

/// A key of relay.yaml that a variable can set.
struct VariableKey<'a> {
    path: Path,
    schema: &'a Value,
    /// Whether it is one of several of which exactly one is given: then it takes the place of the others.
    choice: bool,
}

fn variable_keys(schema: &Value) -> BTreeMap<String, VariableKey<'_>> {
    fn visit<'a>(schema: &'a Value, path: &Path, variable_keys: &mut BTreeMap<String, VariableKey<'a>>) {
        let choice = schema::is_choice(schema);
        for (name, property) in schema::properties(schema) {
            let path = path.join(name.clone());
            match schema::section(property).filter(|section| !schema::properties(section).is_empty()) {
                Some(section) => visit(section, &path, variable_keys),
                None => {
                    variable_keys
                        .insert(variable(&path.to_string()), VariableKey { path, schema: property, choice });
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(schema, &Path::default(), &mut found);
    found
}

/// The names of all variables that set a key.
#[cfg(test)]
pub(super) fn names(schema: &Value) -> Vec<String> {
    variable_keys(schema).into_keys().collect()
}

/// Lays the variables over a tree. Returns which fields they set, and what is wrong with the variables as such.
pub(super) fn apply(
    schema: &Value,
    tree: &mut Value,
    environment: impl Iterator<Item = (String, String)>,
) -> (VariableOrigins, Vec<ConfigError>) {
    let variable_keys = variable_keys(schema);
    let variables: BTreeMap<String, String> =
        environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    let mut set = VariableOrigins::default();
    let mut errors = Vec::new();
    for (name, value) in &variables {
        if is_service_link(name, value) {
            continue;
        }
        let mut refuse = |text: String| errors.push(ConfigError { place: name.clone(), text });
        let leaf =
            if name == LOG_VARIABLE { variable_keys.get("ADIT_LOG_LEVEL") } else { variable_keys.get(name) };
        match leaf {
            None if is_known(name) => {}
            None => refuse(unknown(name)),
            Some(_) if name == LOG_VARIABLE && variables.contains_key("ADIT_LOG_LEVEL") => {
                refuse("is the same as ADIT_LOG_LEVEL: set one of them".to_owned());
            }
            Some(_) if value.is_empty() => refuse("is empty: give it a value or unset it".to_owned()),
            Some(_) if value.len() > MAX_VARIABLE_BYTES => {
                refuse(format!("has more than {MAX_VARIABLE_BYTES} bytes"));
            }
            Some(_) if value.contains('\u{fffd}') => refuse("is not UTF-8 text".to_owned()),
            Some(leaf) => match convert(leaf.schema, value) {
                Ok(value) => {
                    put(tree, leaf, value, &set);
                    set.0.insert(leaf.path.clone(), name.clone());
                }
                Err(texts) => texts.into_iter().for_each(refuse),
            },
        }
    }
    (set, errors)
}

/// A variable's text as the value that a schema asks for, as far as it can be one.
fn convert(schema: &Value, text: &str) -> Result<Value, Vec<String>> {
    use schema::Written;
    match schema::written(schema) {
        Written::Text => Ok(text.into()),
        Written::Scalar => {
            let value = yaml::parse(text).root;
            Ok(if value.is_number() || value.is_boolean() { value } else { text.into() })
        }
        Written::Words if text.contains(',') => {
            Ok(text.split(',').map(|word| Value::from(word.trim())).collect())
        }
        Written::Words => Ok(vec![Value::from(text)].into()),
        Written::Structure => {
            let document = yaml::parse(text);
            if document.problems.is_empty() {
                return Ok(document.root);
            }
            Err(document.problems.iter().map(|problem| format!("{} {problem}", quoted(text))).collect())
        }
    }
}

/// Sets a field. Where something that is no mapping is in the way, it stays, and is refused with the rest of the file.
fn put(tree: &mut Value, leaf: &VariableKey<'_>, value: Value, set: &VariableOrigins) {
    let Some((Step::Key(last), parents)) = leaf.path.0.split_last() else { return };
    let mut place = tree;
    for step in parents {
        let Step::Key(key) = step else { return };
        let Some(fields) = fields(place) else { return };
        place = fields.entry(key.as_ref()).or_insert(Value::Null);
    }
    let Some(fields) = fields(place) else { return };
    if leaf.choice {
        let parent = Path(parents.to_vec());
        fields.retain(|key, _| set.0.contains_key(&parent.join(key.clone())));
    }
    fields.insert(last.to_string(), value);
}

/// The fields of a mapping; nothing becomes an empty one.
fn fields(place: &mut Value) -> Option<&mut Map<String, Value>> {
    if place.is_null() {
        *place = Map::new().into();
    }
    place.as_object_mut()
}
