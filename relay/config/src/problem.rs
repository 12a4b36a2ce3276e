//! Problems of configuration documents: the path, the value and the rule.

use crate::secret;
use std::{borrow::Cow, fmt};

/// The maximum number of characters of a value in an error.
const MAX_SHOWN: usize = 80;

/// One step from the root of a document to a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A key of a mapping.
    Key(Cow<'static, str>),
    /// An element of a list, counted from 0.
    Index(usize),
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(key.into())
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Self::Key(key.into())
    }
}

/// The path of a value in a document. As text: `tls.certificates[1].cert`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The path of keys that are separated by dots.
    pub fn keys(dotted: &str) -> Self {
        Self(dotted.split('.').map(|key| Step::from(key.to_owned())).collect())
    }

    /// This path with one more step at its end.
    pub fn join(&self, step: impl Into<Step>) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Self(steps)
    }

    /// Whether one of the two paths leads to a value that contains the other's.
    pub fn touches(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if index == 0 => write!(f, "{}", plain(key))?,
                Step::Key(key) => write!(f, ".{}", plain(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A rule that a value of a document breaks. As text: `line 6: limits.tunnels: -1 is not a whole number from 1 to 10000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the value; empty for the document as a whole.
    pub path: Path,
    /// The line in the text of the document, counted from 1, where it is known: [`crate::yaml::locate`] fills it in.
    pub line: Option<usize>,
    /// The value and the rule, without secrets: `-1 is not a whole number from 1 to 10000`.
    pub text: String,
}

impl Problem {
    /// A problem of the value at a path.
    pub fn new(path: Path, text: impl Into<String>) -> Self {
        Self { path, line: None, text: text.into() }
    }

    /// A problem of one field: its value, which must be safe to show, and the rule that it breaks.
    pub fn value(field: &'static str, value: impl fmt::Display, rule: impl fmt::Display) -> Self {
        Self::new(Path(vec![field.into()]), format!("{value} {rule}"))
    }

    /// The same problem with a step before its path: of the mapping or list that contains the value.
    #[must_use]
    pub fn within(mut self, step: impl Into<Step>) -> Self {
        self.path.0.insert(0, step.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if self.path.0.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.path, self.text)
        }
    }
}

/// A value as an error shows it: short, on one line, without passwords, and without what a list or mapping holds.
pub fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "nothing".to_owned(),
        serde_json::Value::Bool(value) => value.to_string(),
        serde_json::Value::Number(value) => value.to_string(),
        serde_json::Value::String(text) => quoted(text),
        serde_json::Value::Array(_) => "a list".to_owned(),
        serde_json::Value::Object(_) => "a mapping".to_owned(),
    }
}

/// A text as an error shows it: in quotes, short, on one line and without passwords.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(&secret::masked(text)))
}

/// A text without control characters, cut after some length.
fn plain(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain: String = chars.by_ref().take(MAX_SHOWN).flat_map(escaped).collect();
    if chars.next().is_some() {
        plain.push('…');
    }
    plain
}

/// A character itself, or its escape where a terminal might act on it or a person might not see it.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let hidden = matches!(c, '"' | '\\') || c.escape_debug().len() > 1;
    let escape = hidden.then(|| c.escape_debug());
    (!hidden).then_some(c).into_iter().chain(escape.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_they_are_written() {
        let problem =
            Problem::value("cert", "\"a\"", "cannot be read").within(1).within("certificates").within("tls");
        assert_eq!(problem.to_string(), "tls.certificates[1].cert: \"a\" cannot be read");
        assert!(Path::keys("tls").touches(&problem.path));
        assert!(!Path::keys("tls.other").touches(&problem.path));
    }

    #[test]
    fn values_are_short_plain_and_without_passwords() {
        assert_eq!(quoted("a\u{1b}[31m\n\u{202e}"), r#""a\u{1b}[31m\n\u{202e}""#);
        assert_eq!(quoted("redis://:hunter2@h"), "\"redis://***@h\"");
        assert!(quoted(&"x".repeat(1000)).chars().count() < 90);
        assert_eq!(shown(&serde_json::json!({"password": "hunter2"})), "a mapping");
    }
}
