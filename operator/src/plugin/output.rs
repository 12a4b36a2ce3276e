//! What a command prints.

use serde::Serialize;

/// What a command prints on stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// The text, with its line breaks.
    pub(super) text: String,
    /// Whether it shows a problem, which the exit code tells programs.
    pub(super) is_problem: bool,
}

impl Output {
    /// Output without a problem.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_problem: false }
    }
}

/// A value as indented JSON.
pub(super) fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("the value has a JSON form");
    text.push('\n');
    text
}
