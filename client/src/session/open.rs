//! How many streams a session has open.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// Counts the streams of a session.
#[derive(Debug, Default)]
pub(super) struct Open {
    count: AtomicUsize,
    none: Notify,
}

/// One stream; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Open>);

impl Open {
    /// A place for one more, unless there are so many already.
    pub(super) fn place(open: &Arc<Self>, limit: usize) -> Option<Place> {
        let before = open.count.fetch_add(1, Ordering::AcqRel);
        let place = Place(open.clone());
        (before < limit).then_some(place)
    }

    /// Waits until none is open.
    pub(super) async fn none(&self) {
        loop {
            let none = self.none.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_place_given_back_wakes_who_waits() {
        let open = Arc::<Open>::default();
        let (first, second) = (Open::place(&open, 2).unwrap(), Open::place(&open, 2).unwrap());
        assert!(Open::place(&open, 2).is_none());
        let waiting = tokio::spawn({
            let open = open.clone();
            async move { open.none().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        open.none().await;
    }
}
