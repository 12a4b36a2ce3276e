//! Wake-ups without a payload: whoever is woken reads again.

use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

/// The longest time between two wake-ups: a notification that is lost is a delay of this, never a loss.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How a process learns of changes that others make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeups {
    /// Changes are made by this process; those of other processes on the same file are found by reading every 5 s.
    InProcess,
    /// Postgres' notifications arrive, as a probe of the last minute has shown.
    Notified,
    /// Notifications do not arrive (nobody has asked for changes yet, the store is away, or a transaction pooler
    /// stands in front of it): changes are found by reading every 5 s.
    PollingOnly,
}

/// What rings for every [`Changes`] of one store.
pub(crate) struct Bell {
    rung: watch::Sender<()>,
    poll: Duration,
}

impl Bell {
    pub(crate) fn new(poll: Duration) -> Self {
        Self { rung: watch::Sender::new(()), poll }
    }

    pub(crate) fn ring(&self) {
        self.rung.send_replace(());
    }

    pub(crate) fn changes(&self) -> Changes {
        Changes { rung: self.rung.subscribe(), poll: self.poll, next_poll: None }
    }
}

/// Wake-ups of one reader, from [`crate::Store::changes`].
#[derive(Debug)]
pub struct Changes {
    rung: watch::Receiver<()>,
    poll: Duration,
    next_poll: Option<Instant>,
}

impl Changes {
    /// Returns at the first call at once, then after each change, each time that the connection which listens has
    /// been made anew, and at the latest 5 s after the last return. Changes that come close together may wake once.
    /// May be dropped at any await without losing a wake-up.
    pub async fn next(&mut self) {
        if let Some(poll) = self.next_poll {
            match timeout_at(poll, self.rung.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                // The store is gone; whoever still reads is told so by his calls, at the pace of the poll.
                Ok(Err(_)) => sleep_until(poll).await,
            }
        }
        // What rang until now is what this wake-up stands for.
        self.rung.mark_unchanged();
        self.next_poll = Some(Instant::now() + self.poll);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const NEVER: Duration = Duration::from_secs(600);

    async fn wakes_at_once(changes: &mut Changes) -> bool {
        timeout(Duration::ZERO, changes.next()).await.is_ok()
    }

    #[tokio::test]
    async fn a_reader_is_woken_at_first_and_by_each_ring() {
        let bell = Bell::new(NEVER);
        let mut changes = bell.changes();
        assert!(wakes_at_once(&mut changes).await, "the first read needs no change");
        assert!(!wakes_at_once(&mut changes).await, "nothing has changed since");
        bell.ring();
        bell.ring();
        assert!(wakes_at_once(&mut changes).await);
        assert!(!wakes_at_once(&mut changes).await, "two changes before a read are one wake-up");
    }

    #[tokio::test]
    async fn without_a_ring_the_poll_wakes_also_when_the_store_is_gone() {
        let poll = Duration::from_millis(40);
        let bell = Bell::new(poll);
        let mut changes = bell.changes();
        changes.next().await;
        let start = Instant::now();
        changes.next().await;
        assert!(start.elapsed() >= poll);
        drop(bell);
        changes.next().await;
        changes.next().await;
        assert!(start.elapsed() >= poll * 3, "a reader must not spin");
    }
}
