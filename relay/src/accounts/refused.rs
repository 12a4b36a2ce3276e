//! Counts of consumers that a limit turned away, for notices to the client.

use super::LimitExceeded;
use adit_protocol::Code;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The limits that turn consumers away.
const COUNTED_CODES: [Code; 4] =
    [Code::RateLimited, Code::TooManyStreams, Code::BodyTooLarge, Code::BufferFull];
/// Minimum time between two notices of an account.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// Consumers that were turned away since the last notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalNotice {
    /// The code of the limit.
    pub(crate) code: Code,
    /// The limit's value when it last turned one away.
    pub(crate) limit: u64,
    /// The number of consumers, at least 1.
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
pub(super) struct RefusalCounts {
    counts: [AtomicU64; COUNTED_CODES.len()],
    limits: [AtomicU64; COUNTED_CODES.len()],
    /// When the next notice may be given, in nanoseconds.
    next_at: AtomicU64,
}

impl RefusalCounts {
    pub(super) fn note(&self, exceeded: &LimitExceeded) {
        if let Some(index) = COUNTED_CODES.iter().position(|code| *code == exceeded.code) {
            self.limits[index].store(exceeded.limit, Ordering::Relaxed);
            self.counts[index].fetch_add(1, Ordering::Release);
        }
    }

    /// Takes the count of the limit that turned most consumers away, at most once a second. Each refusal is in one notice only.
    pub(super) fn take(&self, now: Duration) -> Option<RefusalNotice> {
        let counts = || self.counts.iter().map(|count| count.load(Ordering::Acquire)).enumerate();
        let (index, _) = counts().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)?;
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let pause = u64::try_from(NOTICE_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
        let due = |next_at: u64| (next_at <= now).then(|| now.saturating_add(pause));
        self.next_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, due).ok()?;
        let count = self.counts[index].swap(0, Ordering::AcqRel);
        let limit = self.limits[index].load(Ordering::Relaxed);
        (count > 0).then_some(RefusalNotice { code: COUNTED_CODES[index], limit, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_notice_a_second_tells_each_refusal_once_the_worst_first() {
        let refused = RefusalCounts::default();
        let second = Duration::from_secs;
        assert_eq!(refused.take(second(0)), None);
        for _ in 0..3 {
            refused.note(&LimitExceeded::new(Code::RateLimited, 200u32));
        }
        refused.note(&LimitExceeded::new(Code::TooManyStreams, 1000u32));
        refused.note(&LimitExceeded::new(Code::TooManySessions, 20u32));
        let rate = RefusalNotice { code: Code::RateLimited, limit: 200, count: 3 };
        assert_eq!(refused.take(second(0)), Some(rate));
        assert_eq!(refused.take(Duration::from_millis(999)), None, "too early");
        let streams = RefusalNotice { code: Code::TooManyStreams, limit: 1000, count: 1 };
        assert_eq!(refused.take(second(1)), Some(streams));
        assert_eq!(refused.take(second(2)), None, "sessions are refused to the client itself");
        refused.note(&LimitExceeded::new(Code::RateLimited, 100u32));
        let again = RefusalNotice { code: Code::RateLimited, limit: 100, count: 1 };
        assert_eq!(refused.take(second(2)), Some(again), "asking in vain costs no time");
    }
}
