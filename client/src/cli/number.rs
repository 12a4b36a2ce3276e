//! Numbers, durations and times as people read them.

use crate::event::Time;
use std::time::Duration;
use time::{OffsetDateTime, UtcOffset};

/// Bytes in at most four characters and a unit: `612 B`, `4.1 kB`, `73 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) / 100;
    for unit in UNITS {
        if tenths < 100 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        if tenths < 10_000 {
            return format!("{} {unit}", tenths / 10);
        }
        tenths /= 1000;
    }
    "many B".into()
}

/// How long something took: `12 ms`, `1.2 s`, `75 s`, `12 min`, `3 h`.
pub(super) fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// How long something has been: whole seconds, `41 s`, `12 min`.
pub(super) fn ago(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => millis(seconds * 1000),
    }
}

/// How long it is until something: tenths in the last second, `0.8 s`, then whole seconds.
pub(super) fn until(at: Time, now: Time) -> String {
    let ms = at.unix_ms().saturating_sub(now.unix_ms());
    if ms < 1000 { format!("0.{} s", ms / 100) } else { ago(Duration::from_secs(ms.div_ceil(1000))) }
}

/// Thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The time zone in which times are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(UtcOffset);

impl Clock {
    /// The local time zone. It has to be asked for while there is only one thread; otherwise UTC is shown.
    pub(super) fn local() -> Self {
        Self(UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC))
    }

    /// UTC.
    #[cfg(test)]
    pub(super) fn utc() -> Self {
        Self(UtcOffset::UTC)
    }

    /// The time of day: `10:41:07`.
    pub(super) fn time_of_day(self, time: Time) -> String {
        let seconds = i64::try_from(time.unix_ms() / 1000).unwrap_or(0);
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let at = at.checked_to_offset(self.0).unwrap_or(at);
        format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (612, "612 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (4199, "4.1 kB"),
            (73_500, "73 kB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_are_as_exact_as_is_of_use() {
        assert_eq!(
            [12, 999, 1234, 75_000, 120_000, 7_200_000].map(millis),
            ["12 ms", "999 ms", "1.2 s", "75 s", "2 min", "2 h"]
        );
        assert_eq!(ago(Duration::from_millis(3999)), "3 s");
        let now = Time::from_unix_ms(0);
        assert_eq!(until(Time::from_unix_ms(800), now), "0.8 s");
        assert_eq!(until(Time::from_unix_ms(7001), now), "8 s");
        assert_eq!(until(now, Time::from_unix_ms(9)), "0.0 s");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
