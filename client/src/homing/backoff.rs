//! How long to wait before the next dial.

use std::time::Duration;
use tokio::time::Instant;

/// The first wait.
const LEAST: Duration = Duration::from_millis(50);
/// The longest wait.
const MOST: Duration = Duration::from_secs(10);
/// A wait is this part of the time since the first failure: a short outage is noticed as soon as it is over, and a
/// long one costs few dials.
const PART: u32 = 5;
/// A session that ended sooner than this counts as a failure.
const SHORT: Duration = Duration::from_secs(5);
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
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) -> Duration {
        let since = *self.since.get_or_insert(now);
        let wait = ((now - since) / PART).max(LEAST * 2_u32.pow(self.penalties)).min(MOST);
        wait.mul_f64(0.5 + jitter / 2.0)
    }

    /// A session has begun.
    pub(super) fn up(&mut self) {
        self.since = None;
    }

    /// A session that lasted so long has ended. Answers how long to wait: not at all after one that was of use.
    pub(super) fn ended(&mut self, lasted: Duration, now: Instant, jitter: f64) -> Duration {
        if lasted >= SHORT {
            self.penalties = 0;
            return Duration::ZERO;
        }
        self.penalties = (self.penalties + 1).min(MAX_PENALTIES);
        self.failed(now, jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(seconds: u64, jitter: f64) -> (u32, Duration) {
        let start = Instant::now();
        let (mut backoff, mut now, mut tries) = (Backoff::default(), start, 0);
        while now - start < Duration::from_secs(seconds) {
            now += backoff.failed(now, jitter);
            tries += 1;
        }
        (tries, now - start - Duration::from_secs(seconds))
    }

    #[test]
    fn a_short_outage_is_over_at_once_and_a_long_one_costs_few_dials() {
        for jitter in [0.0, 0.5, 0.99] {
            let (tries, late) = outage(1, jitter);
            assert!(late < Duration::from_millis(250) && tries < 40, "{tries} {late:?}");
            let (tries, late) = outage(3600, jitter);
            assert!(late <= MOST && tries < 800, "{tries} {late:?}");
        }
    }

    #[test]
    fn sessions_that_end_at_once_are_dialled_ever_more_slowly() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let mut waits = vec![];
        for _ in 0..12 {
            backoff.up();
            waits.push(backoff.ended(Duration::from_millis(1), now, 1.0));
        }
        assert!(waits.is_sorted() && waits[0] == LEAST * 2 && waits[11] == MOST, "{waits:?}");
        backoff.up();
        assert_eq!(backoff.ended(SHORT, now, 1.0), Duration::ZERO);
        assert_eq!(backoff.failed(now, 1.0), LEAST);
    }
}
