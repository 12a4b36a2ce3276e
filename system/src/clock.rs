//! The clock of the system.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time in seconds since 1970 (UTC). 0 if the clock is set before that.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time in milliseconds since 1970 (UTC). 0 if the clock is set before that.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
