//! Versions of programs, by Semantic Versioning 2.0.

use crate::Invalid;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The name of the format in schemas.
pub const FORMAT: &str = "version";
const MAX_BYTES: usize = 64;

/// A version such as `0.3.0` or `0.3.0-rc.1`, ordered as Semantic Versioning orders them: a pre-release comes before
/// its release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

impl FromStr for Version {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let version = if text.len() <= MAX_BYTES { semver::Version::parse(text).ok() } else { None };
        version.map(Self).ok_or_else(|| Invalid::new("is not a version, which is written like 0.3.0"))
    }
}

impl TryFrom<String> for Version {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

crate::text::inline_schema!(Version, "Version", { "type": "string", "format": FORMAT });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_and_strict() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("0.3.0-rc.1") < version("0.3.0"));
        assert!(version("0.9.0") < version("0.10.0"));
        assert_eq!(version("1.2.3").to_string(), "1.2.3");
        for bad in
            ["", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.x", &format!("1.2.3-{}", "a".repeat(60))]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
