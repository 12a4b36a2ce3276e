//! Checks a document against the JSON Schema of its type and reports all problems at once.
//!
//! serde stops at its first error and does not know the value that it refuses. The schemas that schemars derives from
//! the same types know fields, ranges and formats, so the check reads those.

use crate::{
    Invalid, duration, nearest,
    problem::{Path, Problem, quoted, shown},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

mod kind;

use kind::Shape;
pub use kind::{Written, alternatives, shape_name, written};

/// Checks a text against a format of a schema. An unknown format accepts every text.
pub type Formats = fn(format: &str, text: &str) -> Result<(), Invalid>;

/// The schema of a type with all references inlined.
pub fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The result of a check.
#[derive(Debug)]
pub struct Checked {
    /// The part of the document without problems. A list with a bad element is left out as a whole, and so is a mapping
    /// without a required field.
    pub tree: Option<Value>,
    /// All problems.
    pub problems: Vec<Problem>,
}

/// Checks a document against a schema.
pub fn check(schema: &Value, document: &Value, formats: Formats) -> Checked {
    let mut walk = Walk { formats, problems: Vec::new() };
    let tree = walk.value(schema, document, &Path::default());
    Checked { tree, problems: walk.problems }
}

/// The properties of a schema: those of a mapping, or of all variants of an enum. Sorted by name.
pub fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    let own = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let variants =
        alternatives(schema).filter(|variant| !std::ptr::eq(*variant, schema)).flat_map(properties);
    own.chain(variants).collect()
}

/// The schema of the mapping that a schema requires, if it requires one; an optional mapping counts.
pub fn section(schema: &Value) -> Option<&Value> {
    match Shape::of(schema) {
        Shape::Mapping | Shape::Variants => Some(schema),
        Shape::Either => {
            let mut choices = alternatives(schema);
            let only = choices.next().filter(|_| choices.next().is_none())?;
            section(only)
        }
        _ => None,
    }
}

/// Whether a schema requires exactly one of its properties.
pub fn is_choice(schema: &Value) -> bool {
    matches!(Shape::of(schema), Shape::Variants)
}

struct Walk {
    formats: Formats,
    problems: Vec<Problem>,
}

impl Walk {
    fn problem<T>(&mut self, path: &Path, text: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(path.clone(), text));
        None
    }

    fn value(&mut self, schema: &Value, value: &Value, path: &Path) -> Option<Value> {
        let shape = Shape::of(schema);
        if value.is_null() && !matches!(shape, Shape::Mapping | Shape::Anything) {
            return self.problem(path, "has no value: give it one, or leave the key out");
        }
        match (&shape, value) {
            (Shape::Anything, _) => Some(value.clone()),
            (Shape::Words(words), _) => self.word(words, value, path),
            (Shape::Variants, _) => self.variant(schema, value, path),
            (Shape::Either, _) => self.either(schema, value, path),
            (Shape::Mapping, Value::Null) => self.mapping(schema, &Map::new(), path),
            (Shape::Mapping, Value::Object(fields)) => self.mapping(schema, fields, path),
            (Shape::List, Value::Array(values)) => self.list(schema, values, path),
            (Shape::Integer, Value::Number(number)) if in_range(schema, number) => Some(value.clone()),
            (Shape::Boolean, Value::Bool(_)) => Some(value.clone()),
            (Shape::Text, Value::String(text)) => self.text(schema, text, path),
            (Shape::Text, Value::Number(number)) if is_duration(schema) => {
                self.problem(path, format!("{number} needs a unit, for example {number}s"))
            }
            (Shape::Text, Value::Number(_) | Value::Bool(_)) => {
                self.problem(path, format!("{} is not text: write it in quotes", shown(value)))
            }
            (Shape::Mapping, Value::Array(_)) => {
                self.problem(path, "is a list: write key: value, without dashes")
            }
            _ => self.problem(path, format!("{} is not {}", shown(value), shape_name(schema))),
        }
    }

    fn word(&mut self, words: &[&str], value: &Value, path: &Path) -> Option<Value> {
        let text = value.as_str();
        if text.is_some_and(|text| words.contains(&text)) {
            return Some(value.clone());
        }
        let meant = text.and_then(|text| nearest(text, words.iter().copied()));
        let meant = meant.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
        self.problem(path, format!("{} is not one of {}{meant}", shown(value), words.join(", ")))
    }

    /// Checks a value against the alternative that has its shape.
    fn either(&mut self, schema: &Value, value: &Value, path: &Path) -> Option<Value> {
        let fitting = alternatives(schema).find(|alternative| Shape::of(alternative).matches(value));
        let Some(alternative) = fitting else {
            return self.problem(path, format!("{} is not {}", shown(value), shape_name(schema)));
        };
        let value = self.value(alternative, value, path)?;
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Some(value),
        };
        self.format(schema, &text, &value, path)
    }

    /// An enum with data: a mapping with exactly one key, the variant's name.
    fn variant(&mut self, schema: &Value, value: &Value, path: &Path) -> Option<Value> {
        let names: Vec<&str> = properties(schema).iter().map(|(name, _)| name.as_str()).collect();
        let Some(fields) = value.as_object() else {
            return self.problem(
                path,
                format!("{} is not a mapping with one of {}", shown(value), names.join(", ")),
            );
        };
        let before = self.problems.len();
        self.unknown(fields, &names, path);
        let known = fields.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let read: Map<_, _> = known
            .filter_map(|(name, value)| {
                let (_, schema) = properties(schema).into_iter().find(|(known, _)| *known == name)?;
                Some((name.clone(), self.value(schema, value, &path.join(name.clone()))?))
            })
            .collect();
        if self.problems.len() > before {
            return None;
        }
        if read.len() == 1 {
            return Some(read.into());
        }
        let found = if read.is_empty() { "none".to_owned() } else { read.len().to_string() };
        self.problem(path, format!("has {found} of {}: give exactly one", names.join(", ")))
    }

    fn mapping(&mut self, schema: &Value, fields: &Map<String, Value>, path: &Path) -> Option<Value> {
        let properties = properties(schema);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        if others.is_none() {
            let names: Vec<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
            self.unknown(fields, &names, path);
        }
        let mut read = Map::new();
        for (name, value) in fields {
            let known = properties.iter().find(|(known, _)| *known == name).map(|(_, schema)| *schema);
            let Some(schema) = known.or(others) else { continue };
            if let Some(value) = self.value(schema, value, &path.join(name.clone())) {
                read.insert(name.clone(), value);
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let mut complete = true;
        for name in required.filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.problems.push(Problem::new(path.join(name.to_owned()), "is missing"));
            }
            complete &= read.contains_key(name);
        }
        // The root is kept without the missing fields, so that later checks see the rest of the document.
        (complete || path.0.is_empty()).then(|| read.into())
    }

    fn unknown(&mut self, fields: &Map<String, Value>, names: &[&str], path: &Path) {
        for name in fields.keys().filter(|name| !names.contains(&name.as_str())) {
            let text = match nearest(name, names.iter().copied()) {
                Some(meant) => format!("is not a known key; did you mean {meant}?"),
                None if names.is_empty() => "is not a known key; there are none here".to_owned(),
                None => format!("is not a known key; there are {}", names.join(", ")),
            };
            self.problems.push(Problem::new(path.join(name.clone()), text));
        }
    }

    fn list(&mut self, schema: &Value, values: &[Value], path: &Path) -> Option<Value> {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        let (min, max) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(u64::MAX));
        if values.len() as u64 > max {
            return self.problem(path, format!("has {} elements: the maximum is {max}", values.len()));
        }
        if (values.len() as u64) < min {
            return self.problem(path, format!("has {} elements: the minimum is {min}", values.len()));
        }
        let anything = Value::Bool(true);
        let items = schema.get("items").unwrap_or(&anything);
        let read: Vec<Option<Value>> = values
            .iter()
            .enumerate()
            .map(|(index, value)| self.value(items, value, &path.join(index)))
            .collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(Value::from)
    }

    fn text(&mut self, schema: &Value, text: &str, path: &Path) -> Option<Value> {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        let count = text.chars().count() as u64;
        let value = Value::from(text);
        if let Some(min) = bound("minLength").filter(|min| count < *min) {
            let rule = if text.is_empty() {
                "is empty".to_owned()
            } else {
                format!("has fewer than {min} characters")
            };
            return self.problem(path, format!("{} {rule}", shown(&value)));
        }
        if let Some(max) = bound("maxLength").filter(|max| count > *max) {
            return self.problem(path, format!("{} has more than {max} characters", shown(&value)));
        }
        self.format(schema, text, &value, path)
    }

    fn format(&mut self, schema: &Value, text: &str, value: &Value, path: &Path) -> Option<Value> {
        let Some(format) = schema.get("format").and_then(Value::as_str) else { return Some(value.clone()) };
        match (self.formats)(format, text) {
            Ok(()) => Some(value.clone()),
            Err(rule) if schema.get("writeOnly").is_some() => {
                self.problem(path, format!("{} {rule}", shown_secret(text)))
            }
            Err(rule) => self.problem(path, format!("{} {rule}", shown(value))),
        }
    }
}

/// A value that may hold a password. If it is no URL, only the text before its first colon is shown.
fn shown_secret(text: &str) -> String {
    match (text.contains("://"), text.split_once(':')) {
        (true, _) => quoted(text),
        (false, Some((scheme, _))) => quoted(&format!("{scheme}:***")),
        (false, None) => quoted("***"),
    }
}

fn is_duration(schema: &Value) -> bool {
    schema.get("format").and_then(Value::as_str) == Some(duration::FORMAT)
}

fn in_range(schema: &Value, number: &serde_json::Number) -> bool {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64).map(i128::from);
    number.as_i128().is_some_and(|number| {
        bound("minimum").is_none_or(|min| number >= min) && bound("maximum").is_none_or(|max| number <= max)
    })
}

#[cfg(test)]
mod tests;
