//! YAML text to a tree of JSON values, within bounds.
//!
//! Everything after this works on JSON values, because a Region arrives as JSON too: one behaviour for both. Tags,
//! several documents in one text and keys that are there twice are refused; anchors and aliases are read.

use crate::problem::{Path, Problem, quoted};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::{cell::RefCell, fmt};

/// The most bytes that a document may have.
pub const MAX_BYTES: usize = 256 * 1024;
/// The most values that a document may have, aliases counted as often as they are used.
pub const MAX_VALUES: usize = 20_000;
/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 24;
/// The most problems that are reported of one document.
pub const MAX_PROBLEMS: usize = 100;

/// What a text says.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// The root; an empty text is [`Value::Null`]. Where there are problems it holds what could be read.
    pub root: Value,
    /// Where the keys of mappings stand, in the order of the text: [`Document::root`] has them in that of the alphabet.
    pub keys: Vec<Path>,
    /// What is wrong with the text itself, in the order of the text.
    pub problems: Vec<Problem>,
}

impl Document {
    fn unreadable(problem: impl Into<String>) -> Self {
        Self { root: Value::Null, keys: vec![], problems: vec![Problem::new(Path::default(), problem)] }
    }
}

/// Reads a text. It never fails as a whole: what is wrong stands in [`Document::problems`].
pub fn parse(text: &str) -> Document {
    if text.len() > MAX_BYTES {
        return Document::unreadable(format!("has {} bytes: at most {MAX_BYTES} are read", text.len()));
    }
    // The parser needs quadratic time for brackets that are never closed, so that they are counted before it sees them.
    if text.lines().any(|line| depth(line) > MAX_DEPTH) {
        return Document::unreadable(format!("is nested too deep: at most {MAX_DEPTH} levels are read"));
    }
    let state = RefCell::new(State { values: 0, keys: Vec::new(), problems: Vec::new() });
    let read =
        Node { path: Path::default(), state: &state }.deserialize(serde_yaml::Deserializer::from_str(text));
    let State { keys, problems, .. } = state.into_inner();
    match read {
        Ok(root) => Document { root, keys, problems },
        Err(error) => Document::unreadable(format!("is not YAML that can be read: {error}")),
    }
}

/// How many brackets of a line are open at once, at most; those in quotes are counted too.
fn depth(line: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for byte in line.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

struct State {
    values: usize,
    keys: Vec<Path>,
    problems: Vec<Problem>,
}

/// Reads the value at a path.
struct Node<'a> {
    path: Path,
    state: &'a RefCell<State>,
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
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values")));
        }
        if self.path.0.len() > MAX_DEPTH {
            return Err(D::Error::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
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
                child.problem("is there twice: keep one of them");
            }
            self.state.borrow_mut().keys.push(child.path.clone());
            let value = mapping.next_value_seed(child)?;
            values.insert(key, value);
        }
        Ok(values.into())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("tags (!name) are not read"))
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
            Err(E::custom(format_args!("the key {} is longer than 256 bytes", quoted(value))))
        }
    }
}

#[cfg(test)]
mod tests;
