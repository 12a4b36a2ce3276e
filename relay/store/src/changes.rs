//! Wake-ups without a payload: the reader that is woken reads again.

use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

/// The maximum time between two wake-ups. A lost notification causes a delay of this, never a lost change.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The source of wake-ups after changes by other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeups {
    /// This process itself. Changes by other processes on the same file are found by reading every 5 s.
    InProcess,
    /// Notifications of Postgres, which arrive: a probe of the last minute did.
    Notified,
    /// Notifications do not arrive (nobody has asked for changes yet, the store is away, or a transaction pooler
    /// stands in front of it): changes are found by reading every 5 s.
    PollingOnly,
}

/// Wakes every [`Changes`] of one store.
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
    /// Waits for the next wake-up: at once at the first call, then after each change, after each reconnect of the listening
    /// connection, and at the latest 5 s after the last return. Changes that come close together may cause one wake-up.
    /// Cancel safe.
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
