//! Conditions of a status, as KEP-1623 defines them.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use std::borrow::Cow;

/// Maximum length of a message in characters; the API server accepts 32 KiB.
const MAX_MESSAGE_CHARS: usize = 8000;

/// What a condition says, apart from its type and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionValue {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'static str,
    /// One word in CamelCase.
    pub(crate) reason: Cow<'static, str>,
    /// A sentence.
    pub(crate) message: String,
}

impl ConditionValue {
    /// A value with the status `True`.
    pub(crate) fn yes(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status: "True", reason: reason.into(), message: message.into() }
    }

    /// A value with the status `False`.
    pub(crate) fn no(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status: "False", reason: reason.into(), message: message.into() }
    }

    /// A value with the status `Unknown`.
    pub(crate) fn unknown(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status: "Unknown", reason: reason.into(), message: message.into() }
    }

    /// Whether the status is `True`.
    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// Why an object cannot be reconciled until someone changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// One word in CamelCase.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

impl Blocked {
    /// A reason with its message.
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl From<&Blocked> for ConditionValue {
    fn from(blocked: &Blocked) -> Self {
        Self::no(blocked.reason, &blocked.message)
    }
}

/// The condition of a type.
pub(crate) fn find_condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The conditions from now on. One whose status has not changed keeps its transition time from `old`.
pub(crate) fn conditions<const N: usize>(
    old: &[Condition],
    values: [(&str, ConditionValue); N],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |(kind, value): (&str, ConditionValue)| {
        let unchanged = find_condition(old, kind).filter(|before| before.status == value.status);
        Condition {
            type_: kind.to_owned(),
            status: value.status.to_owned(),
            reason: value.reason.into_owned(),
            message: value.message.chars().take(MAX_MESSAGE_CHARS).collect(),
            observed_generation: generation,
            last_transition_time: unchanged.map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    };
    values.into_iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_changes_with_the_status_alone() {
        let first = conditions(&[], [("Ready", ConditionValue::no("NotReady", "a"))], Some(1), at(1));
        let same = conditions(&first, [("Ready", ConditionValue::no("Stuck", "b"))], Some(2), at(2));
        assert_eq!(same[0].last_transition_time.0, at(1));
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("Stuck", Some(2)));
        let turned = conditions(&same, [("Ready", ConditionValue::yes("Serving", "c"))], Some(2), at(3));
        assert_eq!(turned[0].last_transition_time.0, at(3));
    }

    #[test]
    fn a_long_message_is_cut() {
        let long = ConditionValue::no("Stuck", "é".repeat(9000));
        let cut = conditions(&[], [("Ready", long)], None, at(1));
        assert_eq!(cut[0].message.chars().count(), MAX_MESSAGE_CHARS);
    }
}
