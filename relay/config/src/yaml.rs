//! YAML text to a tree of JSON values, within bounds.
//!
//! Everything after this works on JSON values, because a Region arrives as JSON too: one behaviour for both. Tags,
//! several documents in one text and duplicate keys are refused; anchors and aliases are read. A byte order mark at the
//! beginning is skipped.

mod locate;
mod syntax;

pub use locate::{line_of, locate};

use crate::problem::{Path, Problem, quoted};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::{cell::RefCell, fmt};

/// The maximum size of a document in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// The maximum number of values in a document. An aliased value counts each time that it is used.
pub const MAX_VALUES: usize = 20_000;
/// The maximum nesting of lists and mappings.
pub const MAX_DEPTH: usize = 24;
/// The maximum number of problems that are reported of one document.
pub const MAX_PROBLEMS: usize = 100;

/// The byte order mark, which editors on Windows write at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A text that was read.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// The root value; [`Value::Null`] for an empty text. If there are problems, it holds the values that could be read.
    pub root: Value,
    /// The paths of all keys of mappings in the order of the text. The mappings in [`Document::root`] are sorted by key.
    pub keys: Vec<Path>,
    /// The problems of the text itself, in its order.
    pub problems: Vec<Problem>,
}

impl Document {
    fn unreadable(text: impl Into<String>) -> Self {
        Self::broken(Problem::new(Path::default(), text))
    }

    fn broken(problem: Problem) -> Self {
        Self { root: Value::Null, keys: vec![], problems: vec![problem] }
    }
}

/// Reads a text. Errors are in [`Document::problems`].
pub fn parse(text: &str) -> Document {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Document::unreadable(format!("has {} bytes: the maximum is {MAX_BYTES}", text.len()));
    }
    // The parser takes quadratic time for brackets that are never closed, so they are counted before it sees them.
    if text.lines().any(|line| depth(line) > MAX_DEPTH) {
        return Document::unreadable(format!("is nested too deep: the maximum is {MAX_DEPTH} levels"));
    }
    let state = RefCell::new(Progress { values: 0, keys: Vec::new(), problems: Vec::new() });
    let read =
        Node { path: Path::default(), state: &state }.deserialize(serde_yaml::Deserializer::from_str(text));
    let Progress { keys, problems, .. } = state.into_inner();
    match read {
        Ok(root) => Document { root, keys, problems },
        Err(error) => Document::broken(syntax::problem(text, &error)),
    }
}

/// The maximum number of brackets that are open at once within a line. Brackets in quotes count too.
fn depth(line: &str) -> usize {
    let (mut open, mut max) = (0usize, 0);
    for byte in line.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        max = max.max(open);
    }
    max
}

struct Progress {
    values: usize,
    keys: Vec<Path>,
    problems: Vec<Problem>,
}

/// Reads the value at a path.
struct Node<'a> {
    path: Path,
    state: &'a RefCell<Progress>,
}

impl Node<'_> {
    fn problem(&self, text: impl Into<String>) {
        let problems = &mut self.state.borrow_mut().problems;
        if problems.len() < MAX_PROBLEMS {
            problems.push(Problem::new(self.path.clone(), text));
        }
    }

    fn child(&self, step: impl Into<crate::problem::Step>) -> Self {
        Self { path: self.path.join(step), state: self.state }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let values = {
            let mut state = self.state.borrow_mut();
            state.values += 1;
            state.values
        };
        if values > MAX_VALUES {
            return Err(D::Error::custom(format_args!("has more than {MAX_VALUES} values")));
        }
        if self.path.0.len() > MAX_DEPTH {
            return Err(D::Error::custom(format_args!(
                "is nested too deep: the maximum is {MAX_DEPTH} levels"
            )));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        self.problem(format!("{value} is too large for a number"));
        Ok(Value::Null)
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        self.problem(format!("{value} is too large for a number"));
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        if let Some(number) = Number::from_f64(value) {
            return Ok(number.into());
        }
        self.problem(format!("{value} is not a finite number"));
        Ok(Value::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self.child(values.len()))? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = mapping.next_key_seed(Key)? {
            let child = self.child(key.clone());
            if values.contains_key(&key) {
                child.problem("is set twice: keep one of them");
            }
            self.state.borrow_mut().keys.push(child.path.clone());
            let value = mapping.next_value_seed(child)?;
            values.insert(key, value);
        }
        Ok(values.into())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("has a tag (!name): tags are not read"))
    }
}

/// Reads a key. Numbers and booleans become their text, as in JSON.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text as a key")
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        if value.len() <= 256 {
            Ok(value.to_owned())
        } else {
            Err(E::custom(format_args!("has a key of more than 256 bytes: {}", quoted(value))))
        }
    }
}

#[cfg(test)]
mod tests;
