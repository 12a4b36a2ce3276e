//! A rate limit with bursts: the generic cell rate algorithm (GCRA) in one atomic.
//!
//! The one number that is kept is the time at which the bucket would be full again, had nothing else come. It does not
//! depend on the rate, so that an account's limit can change without a burst for free.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Ticks in a nanosecond: fine enough for ten million a second without a rounding error that shows, and `u64` holds
/// nine years of them.
const TICKS_PER_NANO: u64 = 64;
const TICKS_PER_SECOND: u64 = 1_000_000_000 * TICKS_PER_NANO;

/// A rate and its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Ticks from one to the next at the full rate.
    interval: u64,
    /// How far ahead of the clock the bucket may be.
    tolerance: u64,
}

impl Rate {
    /// `per_second` on average and up to `burst` at once; 0 counts as 1.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = TICKS_PER_SECOND / u64::from(per_second.max(1));
        Self { interval, tolerance: interval.saturating_mul(u64::from(burst.max(1))) }
    }
}

/// The state of the bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one at `now`, the time since some fixed moment.
    ///
    /// # Errors
    /// None is left: how long until one is.
    pub(super) fn take(&self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let now = ticks(now);
        let mut full_at = self.0.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(rate.interval);
            let most = now.saturating_add(rate.tolerance);
            if next > most {
                return Err(Duration::from_nanos((next - most).div_ceil(TICKS_PER_NANO)));
            }
            match self.0.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }

    /// Whether the bucket is full, so that forgetting it changes nothing.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.0.load(Ordering::Relaxed) <= ticks(now)
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).saturating_mul(TICKS_PER_NANO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &Bucket, rate: Rate, at: Duration, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(rate, at).is_ok()).count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (rate, bucket) = (Rate::new(200, 50), Bucket::default());
        let second = Duration::from_secs;
        assert_eq!(taken(&bucket, rate, second(0), 100), 50);
        assert_eq!(bucket.take(rate, second(0)), Err(Duration::from_millis(5)));
        assert_eq!(taken(&bucket, rate, Duration::from_millis(5), 10), 1);
        assert_eq!(taken(&bucket, rate, second(10), 100), 50, "a pause gives a burst and no more");
        let steady: usize = (0..1000).map(|ms| taken(&bucket, rate, second(10) + millis(ms), 5)).sum();
        assert_eq!(steady, 199, "one each 5 ms, the last of them at 1000 ms");
    }

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn every_rate_that_can_be_configured_is_kept() {
        for per_second in [1, 3, 7, 200, 999, 12_345, 7_000_000, 10_000_000] {
            let (rate, bucket) = (Rate::new(per_second, 1), Bucket::default());
            let mut now = Duration::ZERO;
            let (mut count, mut tries) = (0u32, 0);
            while tries < 2000 {
                match bucket.take(rate, now) {
                    Ok(()) => count += 1,
                    Err(wait) => now += wait,
                }
                tries += 1;
            }
            let exact = now.as_secs_f64() * f64::from(per_second);
            let difference = (f64::from(count) - 1.0 - exact).abs();
            assert!(difference <= 1.0 + exact / 100.0, "{per_second}/s: {count} in {now:?}, not {exact}");
        }
    }

    #[test]
    fn another_rate_gives_no_burst_for_free() {
        let (slow, fast, bucket) = (Rate::new(10, 10), Rate::new(1000, 1000), Bucket::default());
        assert_eq!(taken(&bucket, slow, Duration::ZERO, 100), 10);
        assert_eq!(taken(&bucket, fast, Duration::ZERO, 2000), 0, "a second is owed at either rate");
        assert_eq!(taken(&bucket, fast, millis(500), 2000), 500);
        assert!(!bucket.is_full(millis(500)) && bucket.is_full(millis(1500)));
    }

    proptest::proptest! {
        #[test]
        fn no_time_and_no_rate_panics(per_second: u32, burst: u32, times: Vec<u64>) {
            let (rate, bucket) = (Rate::new(per_second, burst), Bucket::default());
            for nanos in times {
                let now = Duration::from_nanos(nanos);
                if let Err(wait) = bucket.take(rate, now) {
                    assert!(wait > Duration::ZERO);
                }
                bucket.is_full(now);
            }
            bucket.take(rate, Duration::MAX).ok();
        }
    }
}
