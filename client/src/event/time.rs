//! Points in time, as events show them.

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{fmt, time::Duration};

/// A point in time with millisecond precision. In JSON it is text by RFC 3339 in UTC: `2026-11-21T10:41:07.250Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    unix_ms: u64,
}

/// 31 December 9999, 23:59:59.999 UTC: the last point in time that RFC 3339 can write.
const LAST_UNIX_MS: u64 = 253_402_300_799_999;

impl Time {
    /// The present, by this computer's clock.
    pub fn now() -> Self {
        Self::from_unix_ms(adit_system::clock::now_ms())
    }

    /// Milliseconds since 1970 (UTC), at most the end of the year 9999.
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        Self { unix_ms: if unix_ms < LAST_UNIX_MS { unix_ms } else { LAST_UNIX_MS } }
    }

    /// Milliseconds since 1970 (UTC).
    pub fn unix_ms(self) -> u64 {
        self.unix_ms
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.unix_ms.saturating_sub(earlier.unix_ms))
    }

    /// The time in whole seconds, as log lines show it: `2026-11-21T10:41:07Z`.
    pub fn to_seconds(self) -> String {
        let text = self.to_string();
        format!("{}Z", &text[..text.len() - ".000Z".len()])
    }

    fn date_time(self) -> OffsetDateTime {
        let ns = i128::from(self.unix_ms) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(ns).expect("times end with the year 9999")
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(LAST_UNIX_MS);
        Self::from_unix_ms(self.unix_ms.saturating_add(ms))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        f.write_str(&self.date_time().format(format).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = OffsetDateTime::parse(&text, &Rfc3339).map_err(D::Error::custom)?;
        let ms = parsed.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(ms).map(Self::from_unix_ms).map_err(|_| D::Error::custom("a time before 1970"))
    }
}
