//! Sizes in bytes: a whole number, or text with a unit: `512KiB`, `64MiB`, `10MB`.
//!
//! For serde: `#[serde(with = "size")] #[schemars(with = "size::Text")]` on a `u64`, [`optional`] on an `Option<u64>`.

use crate::Invalid;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The name of the format in schemas.
pub const FORMAT: &str = "size";
/// The maximum size: 1 TiB.
pub const MAX: u64 = 1 << 40;

/// The units with their numbers of bytes. The binary units are also read as Kubernetes writes them.
const UNITS: [(&str, u64); 10] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a size in bytes, at most [`MAX`].
///
/// # Errors
/// The text is not a whole number with at most one unit, or is more than [`MAX`].
pub fn parse(text: &str) -> Result<u64, Invalid> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = if unit.is_empty() { Some(1) } else { factor };
    let (Some(factor), false) = (factor, number.is_empty()) else {
        return Err(Invalid::new("is not a size, which is written like 65536, 512KiB, 64MiB or 10MB"));
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.filter(|bytes| *bytes <= MAX).ok_or_else(|| Invalid::new("is too much: a size is at most 1024GiB"))
}

/// Formats a size with the largest binary unit that leaves no remainder: `64MiB`, `1000B`.
pub fn display(bytes: u64) -> String {
    let unit = UNITS[..3].iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// Writes a size as text.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&display(*bytes))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

/// Reads a size from a whole number or text.
///
/// # Errors
/// The value is neither of them, or [`parse`] refuses it.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = match Written::deserialize(deserializer)? {
        Written::Number(bytes) => bytes.to_string(),
        Written::Text(text) => text,
    };
    parse(&text).map_err(|invalid| D::Error::custom(format_args!("{text:.80?} {invalid}")))
}

/// An optional size.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Size(#[serde(with = "super")] u64);

    /// Writes a size as text, or nothing.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.map(Size).serialize(serializer)
    }

    /// Reads a size, or nothing.
    ///
    /// # Errors
    /// As [`super::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<Size>::deserialize(deserializer)?.map(|size| size.0))
    }
}

/// The schema of a size.
pub struct Text;

crate::text::inline_schema!(Text, "Size", { "anyOf": [{ "type": "integer" }, { "type": "string" }], "format": FORMAT, "x-kubernetes-int-or-string": true });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_at_most_one_unit() {
        for (text, bytes) in
            [("0B", 0), ("1000B", 1000), ("512KiB", 524_288), ("64MiB", 67_108_864), ("1GiB", 1 << 30)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
            assert_eq!(display(bytes), text);
        }
        assert_eq!(
            (parse("10MB"), parse("65536"), parse("64Mi")),
            (Ok(10_000_000), Ok(65_536), Ok(64 << 20))
        );
        for bad in
            ["", "MiB", "1 MiB", "1mb", "-1", "1.5GiB", "0x10", "1e3", "1025GiB", "99999999999999999999B"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(bytes) = parse(&text) {
                assert_eq!(parse(&display(bytes)), Ok(bytes));
            }
        }
    }
}
