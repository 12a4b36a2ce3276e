//! JSON objects without duplicate keys.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::fmt;

/// An object, read without a choice: of two equal keys, programs take the first or the last (RFC 8259 section 4).
#[derive(Debug, PartialEq)]
pub(super) struct JsonObject(pub(super) Map<String, Value>);

/// An error of [`JsonObject::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ObjectError {
    /// It is not JSON, or another value.
    Malformed,
    /// A duplicate key.
    Duplicate(String),
}

const DUPLICATE_PREFIX: &str = "duplicate key ";

impl JsonObject {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ObjectError> {
        match serde_json::from_slice::<UniqueValue>(bytes) {
            Ok(UniqueValue(Value::Object(map))) => Ok(Self(map)),
            Ok(_) => Err(ObjectError::Malformed),
            Err(error) => {
                let text = error.to_string();
                let Some(key) = text.strip_prefix(DUPLICATE_PREFIX).filter(|_| error.is_data()) else {
                    return Err(ObjectError::Malformed);
                };
                let key = key.rsplit_once(" at line").map_or(key, |(key, _)| key);
                Err(ObjectError::Duplicate(key.to_owned()))
            }
        }
    }
}

struct UniqueValue(Value);

impl<'de> Deserialize<'de> for UniqueValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
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

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(UniqueValue(value)) = elements.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, UniqueValue(value))) = entries.next_entry::<String, UniqueValue>()? {
            if map.contains_key(&key) {
                let shown = adit_config::problem::quoted(&key);
                return Err(A::Error::custom(format_args!("{DUPLICATE_PREFIX}{shown}")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_at_any_depth() {
        for (text, key) in [
            (r#"{"sub":"a","sub":"b"}"#, "\"sub\""),
            (r#"{"adit":[{"names":[],"x":1,"names":["*"]}]}"#, "\"names\""),
            (r#"{"s\u0075b":"a","sub":"b"}"#, "\"sub\""),
            (r#"{"a at line":1,"a at line":1}"#, "\"a at line\""),
        ] {
            assert_eq!(
                JsonObject::parse(text.as_bytes()),
                Err(ObjectError::Duplicate(key.to_owned())),
                "{text}"
            );
        }
        for text in ["", "1", "[]", "null", "{", r#"{"a":1}}"#, r#"{"a":1e999}"#, "{\"a\":\"\u{1}\"}"] {
            assert_eq!(JsonObject::parse(text.as_bytes()), Err(ObjectError::Malformed), "{text}");
        }
        let deep = "[".repeat(10_000);
        assert_eq!(JsonObject::parse(deep.as_bytes()), Err(ObjectError::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn what_serde_reads_without_duplicates_is_read_the_same(text in r#"\{("[ab]":([0-9-]{1,3}|"x"|\[1,null\]|\{"a":true\}),?){0,3}\}"#) {
            let plain = serde_json::from_str::<Map<String, Value>>(&text);
            match JsonObject::parse(text.as_bytes()) {
                Ok(JsonObject(map)) => proptest::prop_assert_eq!(map, plain.unwrap()),
                Err(ObjectError::Malformed) => proptest::prop_assert!(plain.is_err()),
                Err(ObjectError::Duplicate(_)) => {}
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            JsonObject::parse(&bytes).ok();
        }
    }
}
