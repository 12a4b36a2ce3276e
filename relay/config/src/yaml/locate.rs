//! The line of a value in the text of a document.

use super::{BYTE_ORDER_MARK, Key, MAX_PROBLEMS};
use crate::problem::{Path, Problem, Step};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::fmt;

/// The line, counted from 1, of the key or list element at a path; of the first one if a key is set twice. `None` if there
/// is none, or if the text cannot be read. For the root it is the line of its first value.
///
/// serde_yaml tells positions only with its errors, so this reads the text again and fails at the path.
pub fn line_of(text: &str, path: &Path) -> Option<usize> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let search = Search { steps: &path.0 };
    let error = search.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.to_string().contains(FOUND).then(|| error.location()).flatten().map(|location| location.line())
}

/// Fills in the lines of problems of a document with this text. Only the first [`MAX_PROBLEMS`] are looked for, because
/// each takes a pass through the text.
pub fn locate(text: &str, problems: &mut [Problem]) {
    for problem in problems.iter_mut().take(MAX_PROBLEMS) {
        if problem.line.is_none() && !problem.path.0.is_empty() {
            problem.line = line_of(text, &problem.path);
        }
    }
}

/// The error that marks the value.
const FOUND: &str = "the value at the path";

/// Looks for the value below the current one.
struct Search<'a> {
    steps: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((step, below)) = self.steps.split_first() else { return Err(A::Error::custom(FOUND)) };
        for index in 0.. {
            let element = if *step == Step::Index(index) {
                list.next_element_seed(Search { steps: below })?
            } else {
                list.next_element::<IgnoredAny>()?.map(drop)
            };
            if element.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<(), A::Error> {
        let Some((step, below)) = self.steps.split_first() else { return Err(A::Error::custom(FOUND)) };
        let wanted = match step {
            Step::Key(key) => key.as_ref(),
            Step::Index(_) => return mapping.next_key::<IgnoredAny>().map(drop),
        };
        while let Some(is_wanted) = mapping.next_key_seed(WantedKey { wanted, is_last: below.is_empty() })? {
            if is_wanted {
                mapping.next_value_seed(Search { steps: below })?;
            } else {
                mapping.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("tags are not read"))
    }
}

impl Search<'_> {
    fn scalar<E: Error>(&self) -> Result<(), E> {
        if self.steps.is_empty() { Err(E::custom(FOUND)) } else { Ok(()) }
    }
}

/// Compares a key with the wanted one; fails at it if the path ends there.
struct WantedKey<'a> {
    wanted: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for WantedKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for WantedKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Key.expecting(f)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        self.compare(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.compare(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.compare(&value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        self.compare(value)
    }
}

impl WantedKey<'_> {
    fn compare<E: Error>(&self, key: &str) -> Result<bool, E> {
        let is_wanted = key == self.wanted;
        if is_wanted && self.is_last { Err(E::custom(FOUND)) } else { Ok(is_wanted) }
    }
}
