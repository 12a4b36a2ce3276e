//! Durations as text: a whole number and a unit, or several: `500ms`, `30s`, `1m30s`, `1h`, `7d`.
//!
//! For serde: `#[serde(with = "duration")] #[schemars(with = "duration::Text")]` on a field of type [`Duration`].

use crate::Invalid;
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::{borrow::Cow, time::Duration};

/// The name of the format in schemas.
pub const FORMAT: &str = "duration";
/// The maximum duration: 3650 days.
pub const MAX: Duration = Duration::from_secs(3650 * 86_400);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration, at most [`MAX`].
///
/// # Errors
/// The text is not whole numbers with units, or is more than [`MAX`].
pub fn parse(text: &str) -> Result<Duration, Invalid> {
    let rule = || Invalid::new("is not a duration, which is written like 500ms, 30s, 1m30s, 1h or 7d");
    let mut rest = text;
    let mut millis = 0u64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len()));
        if unit.is_empty() && after.is_empty() && !number.is_empty() && rest == text {
            return Err(Invalid::new(format!("is a duration without a unit: write {number:.20}s")));
        }
        let number: u64 = number.parse().map_err(|_| rule())?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(rule)?;
        let part = number.checked_mul(*factor).and_then(|part| part.checked_add(millis));
        millis = part.filter(|sum| u128::from(*sum) <= MAX.as_millis()).ok_or_else(too_long)?;
        rest = after;
    }
    if text.is_empty() { Err(rule()) } else { Ok(Duration::from_millis(millis)) }
}

fn too_long() -> Invalid {
    Invalid::new("is too long: a duration is at most 3650d")
}

/// Formats a duration with the largest units that leave no remainder: `1m30s`. Fractions of a millisecond are dropped.
pub fn display(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().rev() {
        let count = millis / u128::from(*factor);
        millis %= u128::from(*factor);
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

/// Writes a duration as text.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&display(*duration))
}

/// Reads a duration from text.
///
/// # Errors
/// The value is not a string, or [`parse`] refuses it.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = Cow::<'_, str>::deserialize(deserializer)?;
    parse(&text).map_err(|invalid| D::Error::custom(format_args!("{text:.80?} {invalid}")))
}

/// The schema of a duration.
pub struct Text;

crate::text::inline_schema!(Text, "Duration", { "type": "string", "format": FORMAT });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("1m30s", 90_000), ("7d", 604_800_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(display(Duration::from_millis(millis)), text);
        }
        for bad in ["", "s", "1", "1.5s", "-1s", "1 s", "1y", "1S", "s1", "1s2", "1s ", "٣s"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse("30").unwrap_err().to_string(), "is a duration without a unit: write 30s");
        for long in ["3651d", "99999999999999999999s", "18446744073709551615d", "3650d1ms"] {
            assert!(parse(long).is_err(), "{long}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(duration) = parse(&text) {
                assert_eq!(parse(&display(duration)), Ok(duration));
            }
        }
    }
}
