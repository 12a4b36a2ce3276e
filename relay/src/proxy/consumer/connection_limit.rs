//! The limit of connections that consumers may have open.
//!
//! Each takes a file descriptor. Were consumers to take all of them, no client could come back, no peer be dialled and no
//! probe be answered. So they get a part; a few more are taken to be told that there is no room, the others are closed.

use crate::ops::metrics::{MetricKind, Metrics};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// File descriptors that a relay needs for itself where it cannot be seen how many it has open.
const OWN: usize = 64;

/// The limit and how much of it is used, shared by all lanes.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    most: usize,
    threshold: usize,
    open: AtomicUsize,
}

/// One connection within the limit, or one of the few beyond it that hear a refusal; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    inside: bool,
}

impl ConnectionLimit {
    /// A limit of this many connections.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, threshold: (most / 8).clamp(8, 256), open: AtomicUsize::new(0) }
    }

    /// The limit that is configured, or else what the process's file descriptors allow.
    pub(crate) fn open_files(configured: Option<usize>) -> Self {
        let possible = possible();
        if let Some(connections) = configured.filter(|most| *most > possible) {
            tracing::warn!(connections, possible, "connections: more than the file descriptors allow");
        }
        Self::new(configured.unwrap_or(possible))
    }

    /// Shows its size among the metrics.
    pub(crate) fn show_in(self: &Arc<Self>, metrics: &Metrics) {
        let limit = self.clone();
        let help = "Consumers' connections that may be open at once";
        metrics.watch("adit_connections_limit", help, MetricKind::Gauge, move || limit.most() as u64);
    }

    /// The most connections that are served.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many are open, including those that only hear a refusal.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A permit for one more connection; `None` when not even a refusal can be heard.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let permit = ConnectionPermit { limit: self.clone(), inside: before < self.most };
        (before < self.most + self.threshold).then_some(permit)
    }
}

impl ConnectionPermit {
    /// Whether it is within the limit. Else the consumer hears a refusal, and has to go.
    pub(crate) fn is_inside(&self) -> bool {
        self.inside
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limit.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets the process have as many files open as the system allows it.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, ?limit, "cannot raise the limit of open files");
        }
    }
}

/// How many connections of consumers the process can have: three quarters of the file descriptors that are free now.
fn possible() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    let own = std::fs::read_dir("/proc/self/fd").map_or(OWN, Iterator::count);
    (limit.unwrap_or(usize::MAX).saturating_sub(own) / 4 * 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_a_few_are_taken_to_be_refused_and_then_none() {
        let limit = Arc::new(ConnectionLimit::new(100));
        let mut permits: Vec<_> = std::iter::from_fn(|| limit.enter()).collect();
        assert_eq!((permits.len(), limit.open()), (112, 112));
        assert_eq!(permits.iter().filter(|permit| permit.is_inside()).count(), 100);
        permits.truncate(99);
        assert!(limit.enter().expect("one is free").is_inside());
        drop(permits);
        assert_eq!(limit.open(), 0);
    }
}
