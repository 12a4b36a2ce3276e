//! Back-off between dials.

use std::time::Duration;
use tokio::time::Instant;

/// The first wait.
const MIN_DELAY: Duration = Duration::from_millis(50);
/// The longest wait.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// A wait is a fifth of the time since the first failure: a client returns soon after a short outage, and a long one costs
/// few dials.
const OUTAGE_FRACTION: u32 = 5;
/// A session shorter than this counts as a failure.
const MIN_SESSION_TIME: Duration = Duration::from_secs(5);
/// More penalties change nothing.
const MAX_PENALTIES: u32 = 10;

/// The waits between dials that fail.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    since: Option<Instant>,
    /// How many sessions in a row ended as soon as they had begun.
    penalties: u32,
}

impl Backoff {
    /// How long to wait after a failure. `jitter` is between 0 and 1.
    pub(super) fn failure_delay(&mut self, now: Instant, jitter: f64) -> Duration {
        let since = *self.since.get_or_insert(now);
        let wait =
            ((now - since) / OUTAGE_FRACTION).max(MIN_DELAY * 2_u32.pow(self.penalties)).min(MAX_DELAY);
        wait.mul_f64(0.5 + jitter / 2.0)
    }

    /// A session has begun.
    pub(super) fn session_began(&mut self) {
        self.since = None;
    }

    /// Forgets all failures: a draining relay has gone, and its successor has not failed yet.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The wait after a session of this length: none after one of at least [`MIN_SESSION_TIME`], even if searches for
    /// another relay have failed meanwhile.
    pub(super) fn session_ended_delay(&mut self, lasted: Duration, now: Instant, jitter: f64) -> Duration {
        if lasted >= MIN_SESSION_TIME {
            self.reset();
            return Duration::ZERO;
        }
        self.penalties = (self.penalties + 1).min(MAX_PENALTIES);
        self.failure_delay(now, jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(seconds: u64, jitter: f64) -> (u32, Duration) {
        let start = Instant::now();
        let (mut backoff, mut now, mut tries) = (Backoff::default(), start, 0);
        while now - start < Duration::from_secs(seconds) {
            now += backoff.failure_delay(now, jitter);
            tries += 1;
        }
        (tries, now - start - Duration::from_secs(seconds))
    }

    #[test]
    fn a_short_outage_ends_at_once_and_a_long_one_costs_few_dials() {
        for jitter in [0.0, 0.5, 0.99] {
            let (tries, late) = outage(1, jitter);
            assert!(late < Duration::from_millis(250) && tries < 40, "{tries} {late:?}");
            let (tries, late) = outage(3600, jitter);
            assert!(late <= MAX_DELAY && tries < 800, "{tries} {late:?}");
        }
    }

    #[test]
    fn sessions_that_end_at_once_are_dialled_ever_more_slowly() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let mut waits = vec![];
        for _ in 0..12 {
            backoff.session_began();
            waits.push(backoff.session_ended_delay(Duration::from_millis(1), now, 1.0));
        }
        assert!(waits.is_sorted() && waits[0] == MIN_DELAY * 2 && waits[11] == MAX_DELAY, "{waits:?}");
        backoff.session_began();
        assert_eq!(backoff.session_ended_delay(MIN_SESSION_TIME, now, 1.0), Duration::ZERO);
        assert_eq!(backoff.failure_delay(now, 1.0), MIN_DELAY);
    }
}
