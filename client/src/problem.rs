//! Problems in words: each code with what happened, why, and what to do next.
//!
//! The codes are [`adit_protocol::Code`]'s and the client's own; all are in [`CODES`]. They are stable, and
//! `adit help CODE` explains each.

mod codes;

pub use codes::{CODES, Explanation};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// A failure or warning: the fields of the events `notice` and `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The stable code, for example `name_taken`.
    pub code: String,
    /// The HTTP status that means the same, for example 409.
    pub status: u16,
    /// What happened, in one line.
    pub message: String,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do next: a command where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The facts that the texts were made of, by name.
    #[serde(default)]
    pub details: Map<String, Value>,
    /// Whether the client ends because of it.
    pub fatal: bool,
}

impl Problem {
    /// The problem of a code, without any fact yet. A code that is not in [`CODES`] is shown with the relay's words.
    pub fn new(code: &str) -> Self {
        let mut problem = Self {
            code: code.to_owned(),
            status: 0,
            message: String::new(),
            why: None,
            next: None,
            details: Map::new(),
            fatal: false,
        };
        problem.word();
        problem
    }

    /// Adds a fact; the texts use it if they can. Which facts a code has is in [`CODES`].
    ///
    /// Every code takes `message`, the relay's own words, and shows them as the reason if it has no better one.
    #[must_use]
    pub fn with(mut self, fact: &str, value: impl Into<Value>) -> Self {
        self.details.insert(fact.to_owned(), value.into());
        self.word();
        self
    }

    /// Says that the client ends because of it.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }

    /// The code with which the command ends because of this problem: 1 to 7.
    pub fn exit_code(&self) -> u8 {
        explanation(&self.code).map_or(1, |e| e.exit_code)
    }

    fn word(&mut self) {
        let explanation = explanation(&self.code).unwrap_or(&codes::OTHER);
        let first = |alternatives: &[&str]| alternatives.iter().find_map(|text| fill(text, &self.details));
        let message = first(explanation.what);
        // An empty text means that there is nothing to add to what happened.
        let why = first(explanation.why).or_else(|| fill("{message}", &self.details));
        let why = why.filter(|why| !why.is_empty() && Some(why) != message.as_ref());
        let next = first(explanation.next);
        self.status = explanation.status;
        self.message = message.unwrap_or_else(|| self.code.clone());
        self.why = why;
        self.next = next;
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Problem {}

/// The explanation of a code; `None` if this version does not know it.
pub fn explanation(code: &str) -> Option<&'static Explanation> {
    CODES.iter().find(|e| e.code == code)
}

/// The text with each `{fact}` replaced, or `None` if one of them is not known.
fn fill(text: &str, facts: &Map<String, Value>) -> Option<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (fact, after) = after.split_once('}')?;
        filled.push_str(before);
        match facts.get(fact)? {
            Value::String(text) if text.is_empty() => return None,
            Value::String(text) => filled.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c })),
            Value::Null => return None,
            other => filled.push_str(&other.to_string()),
        }
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests;
