//! The limit of a session's open streams.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// Counts the streams of a session.
#[derive(Debug, Default)]
pub(super) struct StreamLimit {
    count: AtomicUsize,
    idle: Notify,
}

/// The permit of one open stream, given back when dropped.
#[derive(Debug)]
pub(super) struct StreamPermit(Arc<StreamLimit>);

impl StreamLimit {
    /// A permit for one more stream, unless `limit` are open.
    pub(super) fn acquire(streams: &Arc<Self>, limit: usize) -> Option<StreamPermit> {
        let before = streams.count.fetch_add(1, Ordering::AcqRel);
        let permit = StreamPermit(streams.clone());
        (before < limit).then_some(permit)
    }

    /// Waits until no stream is open.
    pub(super) async fn wait_until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_place_given_back_wakes_who_waits() {
        let open = Arc::<StreamLimit>::default();
        let (first, second) =
            (StreamLimit::acquire(&open, 2).unwrap(), StreamLimit::acquire(&open, 2).unwrap());
        assert!(StreamLimit::acquire(&open, 2).is_none());
        let waiting = tokio::spawn({
            let open = open.clone();
            async move { open.wait_until_idle().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        open.wait_until_idle().await;
    }
}
