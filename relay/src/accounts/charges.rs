//! The unread bytes that an account's streams are charged with, and which of them is shed.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

/// The streams of an account that have been charged.
#[derive(Debug, Default)]
pub(super) struct AccountBuffers(Mutex<ChargedStreams>);

/// The charges of an account's streams.
#[derive(Debug, Default)]
pub(super) struct ChargedStreams {
    pub(super) total: u64,
    streams: Vec<Arc<Charge>>,
}

/// The charge of one stream.
#[derive(Debug, Default)]
pub(super) struct Charge {
    /// Changes only under the account's lock.
    pub(super) bytes: AtomicU64,
    /// Where the stream stands in [`ChargedStreams::streams`]; likewise.
    index: AtomicUsize,
    /// Set under the account's lock, once: the stream is no longer charged.
    pub(super) shed: AtomicBool,
}

impl AccountBuffers {
    #[cfg(test)]
    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ChargedStreams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChargedStreams {
    pub(super) fn add(&mut self, charge: &Arc<Charge>) {
        charge.index.store(self.streams.len(), Ordering::Relaxed);
        self.streams.push(charge.clone());
    }

    pub(super) fn remove(&mut self, charge: &Charge) {
        let index = charge.index.load(Ordering::Relaxed);
        self.streams.swap_remove(index);
        if let Some(moved) = self.streams.get(index) {
            moved.index.store(index, Ordering::Relaxed);
        }
        self.total -= charge.bytes.swap(0, Ordering::SeqCst);
    }

    /// Takes out the fullest streams until what is left is within the limit; returns how many.
    pub(super) fn shed(&mut self, limit: u64) -> usize {
        let mut shed = 0;
        while self.total > limit {
            let bytes = |charge: &&Arc<Charge>| charge.bytes.load(Ordering::Relaxed);
            let Some(fullest) = self.streams.iter().max_by_key(bytes).cloned() else { break };
            self.remove(&fullest);
            fullest.shed.store(true, Ordering::SeqCst);
            shed += 1;
        }
        shed
    }
}
