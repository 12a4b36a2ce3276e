//! Ages as kubectl prints them.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// An age in seconds as `kubectl get` prints it (`HumanDuration` of k8s.io/apimachinery): one unit, and a second one
/// while the first is small. `90s`, `5m30s`, `47m`, `3h20m`, `30h`, `5d12h`, `90d`, `3y20d`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two_units(seconds, (MINUTE, "m"), (1, "s")),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two_units(seconds, (HOUR, "h"), (MINUTE, "m")),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two_units(seconds, (DAY, "d"), (HOUR, "h")),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two_units(seconds, (YEAR, "y"), (DAY, "d")),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// The larger unit, and the smaller one unless there are none of it.
fn two_units(seconds: u64, large: (u64, &str), small: (u64, &str)) -> String {
    let (large_count, small_count) = (seconds / large.0, seconds % large.0 / small.0);
    match small_count {
        0 => format!("{large_count}{}", large.1),
        _ => format!("{large_count}{}{small_count}{}", large.1, small.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (2 * MINUTE, "2m"),
            (5 * MINUTE + 30, "5m30s"),
            (10 * MINUTE - 1, "9m59s"),
            (10 * MINUTE + 59, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR + 59 * MINUTE, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY - 1, "7d23h"),
            (8 * DAY + HOUR, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (3 * YEAR + 20 * DAY, "3y20d"),
            (8 * YEAR, "8y"),
        ] {
            assert_eq!(age(seconds), text, "{seconds} s");
        }
        assert!(age(u64::MAX).ends_with('y'));
    }
}
