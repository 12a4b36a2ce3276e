//! Places that are held until they are dropped.

use super::AccountUsage;
use adit_protocol::Endpoint;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// How many places are held.
#[derive(Debug, Default)]
pub(super) struct PermitCount(AtomicU32);

impl PermitCount {
    /// Takes a place if fewer than `limit` are held, here or in all (`elsewhere_too`).
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

/// One of an account's sessions at this relay.
#[derive(Debug)]
#[must_use = "the session counts until the permit is dropped"]
pub(crate) struct SessionPermit(pub(super) Arc<AccountUsage>);

/// One of an account's streams at this relay.
#[derive(Debug)]
#[must_use = "the stream counts until the permit is dropped"]
pub(crate) struct StreamPermit(pub(super) Arc<AccountUsage>);

/// One of an account's tunnels, for one of the sessions that serve it at this relay.
#[derive(Debug)]
#[must_use = "the tunnel counts until the permit is dropped"]
pub(crate) struct TunnelPermit {
    pub(super) account: Arc<AccountUsage>,
    pub(super) endpoint: Endpoint,
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.0.sessions.release();
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.streams.release();
    }
}

impl Drop for TunnelPermit {
    fn drop(&mut self) {
        self.account.close_tunnel(&self.endpoint);
    }
}
