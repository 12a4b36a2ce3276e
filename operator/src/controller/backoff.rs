//! Delays after failures, per object.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// Delay after the first failure; it doubles with each further one.
const MIN_DELAY: Duration = Duration::from_millis(500);

/// Counts the failures in a row of each object.
#[derive(Debug)]
pub(super) struct Backoff<K> {
    max_delay: Duration,
    failures: Mutex<HashMap<K, u32>>,
}

impl<K: Eq + Hash> Backoff<K> {
    pub(super) fn new(max_delay: Duration) -> Self {
        Self { max_delay, failures: Mutex::default() }
    }

    /// Counts a failure. Returns how many there were in a row, and the delay before the next attempt: at most
    /// `max_delay`, and never the same for two objects.
    pub(super) fn record_failure(&self, key: K) -> (u32, Duration) {
        let mut failures = self.lock();
        let count = failures.entry(key).or_default();
        *count = count.saturating_add(1);
        (*count, delay_after(*count, self.max_delay).mul_f64(rand::random_range(0.5..1.0)))
    }

    /// Forgets the failures of an object.
    pub(super) fn record_success(&self, key: &K) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, u32>> {
        self.failures.lock().expect("no code panics while it holds this lock")
    }
}

fn delay_after(failures: u32, max_delay: Duration) -> Duration {
    MIN_DELAY.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(max_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_maximum() {
        let delay = |failures| delay_after(failures, Duration::from_secs(60)).as_millis();
        assert_eq!(
            [1, 2, 3, 7, 8, 9, u32::MAX].map(delay),
            [500, 1000, 2000, 32_000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn a_success_begins_anew() {
        let backoff = Backoff::new(Duration::from_secs(60));
        assert_eq!([1, 2, 3].map(|_| backoff.record_failure("eu").0), [1, 2, 3]);
        assert_eq!(backoff.record_failure("us").0, 1);
        backoff.record_success(&"eu");
        assert_eq!(backoff.record_failure("eu").0, 1);
    }
}
