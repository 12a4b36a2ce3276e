//! Patterns of names.

use adit_protocol::Name;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The most bytes that a pattern may have.
const MAX_BYTES: usize = 63;

/// A pattern of names: `*` stands for any number of letters, none included. `ci-*` is an example.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

/// Text that no name could match, or that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a pattern of names, which has 1 to 63 of a-z, 0-9, '-' and '*'")]
pub struct InvalidPattern;

impl NamePattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name is one of the pattern's.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // The earliest place of each part leaves most for those after it.
        let rest = parts.try_fold(rest, |rest, part| rest.split_once(part).map(|(_, after)| after));
        rest.is_some_and(|rest| rest.ends_with(last))
    }

    /// A name of the pattern with `random` in its first `*`, if it has one.
    pub(super) fn fill(&self, random: &str) -> Option<Name> {
        let (before, after) = self.0.split_once('*')?;
        format!("{before}{random}{}", after.replace('*', "")).parse().ok()
    }
}

impl FromStr for NamePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'*';
        if (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPattern)
        }
    }
}

impl TryFrom<String> for NamePattern {
    type Error = InvalidPattern;
    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> NamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_stands_for_any_letters_and_for_none() {
        for (text, name) in [
            ("shop", "shop"),
            ("*", "shop"),
            ("ci-*", "ci-1"),
            ("ci-*", "ci-"),
            ("*-ci", "a-ci"),
            ("a*c", "ac"),
            ("a*b*c", "axxbyybc"),
            ("a*ab", "aab"),
            ("**", ""),
            ("*a*a*", "aa"),
        ] {
            assert!(pattern(text).matches(name), "{text} {name}");
        }
        for (text, name) in [
            ("shop", "shops"),
            ("shop", "sho"),
            ("ci-*", "ci"),
            ("ci-*", "xci-1"),
            ("*-ci", "-ci-"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("*a*a*", "a"),
        ] {
            assert!(!pattern(text).matches(name), "{text} {name}");
        }
    }

    #[test]
    fn what_no_name_could_match_is_no_pattern() {
        for bad in ["", "A*", "a.b", "ci_*", "*.example", "ä", "a b", "?", &"a".repeat(64)] {
            assert_eq!(bad.parse::<NamePattern>(), Err(InvalidPattern), "{bad:?}");
        }
    }

    #[test]
    fn a_random_name_fills_the_first_star() {
        let filled = |text: &str| pattern(text).fill("brisk-otter").map(String::from);
        assert_eq!(filled("ci-*").as_deref(), Some("ci-brisk-otter"));
        assert_eq!(filled("*").as_deref(), Some("brisk-otter"));
        assert_eq!(filled("a-*-b*").as_deref(), Some("a-brisk-otter-b"));
        assert_eq!(filled("shop"), None);
        assert_eq!(filled("-*"), None, "no name begins so");
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_was_made_of(parts in prop::collection::vec("[a-c]{0,3}", 1..5), fill in "[a-c]{0,4}") {
            let text = parts.join("*");
            prop_assume!(!text.is_empty());
            prop_assert!(pattern(&text).matches(&parts.join(&fill)));
        }

        #[test]
        fn no_text_panics(text in ".{0,70}", name in ".{0,70}") {
            if let Ok(pattern) = text.parse::<NamePattern>() {
                pattern.matches(&name);
                prop_assert!(pattern.fill(&name).is_none_or(|filled| pattern.matches(filled.as_str())));
            }
        }
    }
}
