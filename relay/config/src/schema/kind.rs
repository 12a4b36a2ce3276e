//! The shape of value that a schema requires.

use serde_json::Value;

/// The shape of value that a schema requires, as far as configuration files need it.
pub(super) enum Shape<'a> {
    /// A mapping with fields.
    Mapping,
    /// A list.
    List,
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of several words.
    Words(Vec<&'a str>),
    /// A mapping with exactly one key, the name of a variant.
    Variants,
    /// One of several shapes.
    Either,
    /// Any value.
    Anything,
}

/// The alternatives of a schema without `null`; the schema itself if it has none.
pub fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["oneOf", "anyOf"].into_iter().filter_map(|key| schema.get(key).and_then(Value::as_array));
    let found: Vec<&Value> =
        lists.flatten().filter(|s| s.get("type") != Some(&Value::from("null"))).collect();
    if found.is_empty() { vec![schema] } else { found }.into_iter()
}

/// The type that a schema names, without `null`.
fn type_name(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

fn words(schema: &Value) -> Vec<&str> {
    alternatives(schema)
        .flat_map(|schema| {
            let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
            listed.chain(schema.get("const")).filter_map(Value::as_str)
        })
        .collect()
}

impl<'a> Shape<'a> {
    pub(super) fn of(schema: &'a Value) -> Self {
        let words = words(schema);
        if !words.is_empty() {
            return Self::Words(words);
        }
        let choices: Vec<&Value> = alternatives(schema).collect();
        if schema.get("oneOf").is_some() && choices.iter().all(|choice| type_name(choice) == Some("object")) {
            return Self::Variants;
        }
        if let [choice] = choices[..] {
            if !std::ptr::eq(choice, schema) {
                // An optional value: its own alternatives are below the `anyOf` with null.
                return Self::Either;
            }
        } else {
            return Self::Either;
        }
        match type_name(schema) {
            Some("object") => Self::Mapping,
            Some("array") => Self::List,
            Some("string") => Self::Text,
            Some("integer") => Self::Integer,
            Some("boolean") => Self::Boolean,
            _ => Self::Anything,
        }
    }

    /// Whether a value has this shape.
    pub(super) fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Mapping | Self::Variants => value.is_object(),
            Self::List => value.is_array(),
            Self::Text | Self::Words(_) => value.is_string(),
            Self::Integer => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Either | Self::Anything => true,
        }
    }
}

/// The name of a schema's shape in messages: `a whole number from 1 to 10000`.
pub fn shape_name(schema: &Value) -> String {
    match Shape::of(schema) {
        Shape::Mapping => "a mapping".to_owned(),
        Shape::Variants => "a mapping".to_owned(),
        Shape::List => "a list".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Anything => "a value".to_owned(),
        Shape::Words(words) => format!("one of {}", words.join(", ")),
        Shape::Either => alternatives(schema).map(shape_name).collect::<Vec<_>>().join(" or "),
        Shape::Integer => {
            let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
            match (bound("minimum"), bound("maximum")) {
                (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
                _ => "a whole number".to_owned(),
            }
        }
    }
}

/// How a value is written as text alone, as in a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The text itself.
    Text,
    /// As YAML writes a number, `true` or `false`.
    Scalar,
    /// Several texts with commas between them.
    Words,
    /// As YAML or JSON.
    Structure,
}

/// How a value of a schema is written as text alone.
pub fn written(schema: &Value) -> Written {
    match Shape::of(schema) {
        Shape::Text | Shape::Words(_) => Written::Text,
        Shape::Integer | Shape::Boolean => Written::Scalar,
        Shape::List if schema.get("items").is_some_and(|items| matches!(Shape::of(items), Shape::Text)) => {
            Written::Words
        }
        Shape::Either => {
            let forms: Vec<Written> = alternatives(schema).map(written).collect();
            match forms.as_slice() {
                [form] => *form,
                _ if forms.contains(&Written::Structure) => Written::Structure,
                _ if forms.contains(&Written::Words) => Written::Words,
                _ => Written::Text,
            }
        }
        Shape::List | Shape::Mapping | Shape::Variants | Shape::Anything => Written::Structure,
    }
}
