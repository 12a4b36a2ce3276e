//! A count of permits, bounded by a limit.

use std::sync::atomic::{AtomicU32, Ordering};

/// A count of the permits that are held.
#[derive(Debug, Default)]
pub(super) struct PermitCount(AtomicU32);

impl PermitCount {
    /// Acquires a permit if fewer than `limit` are held, at this relay or in the region (`elsewhere_too`).
    pub(super) fn try_acquire(&self, limit: u32, elsewhere_too: u32) -> bool {
        let free = |held: u32| (held.max(elsewhere_too) < limit).then(|| held + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).is_ok()
    }

    pub(super) fn release(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}
