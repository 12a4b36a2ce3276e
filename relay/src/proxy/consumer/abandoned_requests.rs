//! What the requests of one consumer's connection are like: how many it leaves unanswered, and when it had the last one.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time::sleep};

/// How many requests a consumer may leave before their answers have ended, within [`PERIOD`]. A browser that closes a page
/// leaves as many as it may have open.
const MOST_LEFT: u32 = 100;
/// The time in which they are counted.
const PERIOD: Duration = Duration::from_secs(10);

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct AbandonedRequests {
    begun: AtomicU64,
    open: AtomicU32,
    left: Mutex<Option<(Instant, u32)>>,
    restless: Notify,
}

impl AbandonedRequests {
    /// A request has come.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over. `left`: the consumer did not wait for the end of its answer.
    pub(crate) fn end(&self, left: bool) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if left && self.count(Instant::now()) {
            self.restless.notify_one();
        }
    }

    /// Whether these were too many.
    fn count(&self, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = left.filter(|(since, _)| now < *since + PERIOD).unwrap_or((now, 0));
        *left = (count < MOST_LEFT).then_some((since, count + 1));
        left.is_none()
    }

    /// Waits until the consumer has left too many requests; each time it is called anew.
    pub(crate) async fn restless(&self) {
        self.restless.notified().await;
    }

    /// Waits until there has been no request for so long, or for twice that. Answers whether there ever was one: if not,
    /// `first` is how long it waits.
    pub(crate) async fn idle(&self, first: Duration, then: Duration) -> bool {
        sleep(first).await;
        let mut begun = self.begun.load(Ordering::Relaxed);
        while begun > 0 {
            sleep(then).await;
            let now = self.begun.load(Ordering::Relaxed);
            if now == begun && self.open.load(Ordering::Relaxed) == 0 {
                return true;
            }
            begun = now;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_that_are_left_at_once_are_too_many() {
        let (abandoned_requests, start) = (AbandonedRequests::default(), Instant::now());
        for second in 0..10 {
            for _ in 0..MOST_LEFT {
                assert!(!abandoned_requests.count(start + PERIOD * second), "a period has its own count");
            }
        }
        assert!(abandoned_requests.count(start + PERIOD * 9));
        assert!(!abandoned_requests.count(start + PERIOD * 9), "it begins anew");
    }

    #[tokio::test]
    async fn a_connection_is_idle_only_without_a_request() {
        const MOMENT: Duration = Duration::from_millis(1);
        let abandoned_requests = AbandonedRequests::default();
        assert!(!abandoned_requests.idle(MOMENT, MOMENT).await, "there was none");
        abandoned_requests.begin();
        let idle = tokio::time::timeout(50 * MOMENT, abandoned_requests.idle(MOMENT, MOMENT)).await;
        assert!(idle.is_err(), "the request is open");
        abandoned_requests.end(false);
        assert!(abandoned_requests.idle(MOMENT, MOMENT).await);
    }
}
