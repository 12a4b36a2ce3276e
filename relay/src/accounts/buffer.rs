//! Bytes that arrived and that the other side has not read: counted per stream, bounded per account.
//!
//! A stream counts for itself, with one atomic that no other stream touches. Only whole grains of what is unread are
//! charged to the account, under its lock: a stream whose reader keeps up is never charged. When the account passes
//! its limit, its fullest stream is shed: it is no longer charged, and whoever measures it resets it.

use super::{AccountUsage, LimitExceeded, charges::Charge};
use adit_protocol::Code;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Charges are whole multiples of this many bytes, rounded down: what a stream has unread beyond its charge.
const CHARGE_GRAIN_BYTES: u64 = 32 * 1024;

/// The unread bytes of one direction of one stream, charged to its account until it is dropped.
///
/// Up to 32 KiB of each stream are not charged, nor is what is left of the last 32 KiB.
#[derive(Debug)]
pub(crate) struct StreamBuffer {
    account: Arc<AccountUsage>,
    unread: AtomicU64,
    charge: OnceLock<Arc<Charge>>,
}

impl StreamBuffer {
    pub(super) fn new(account: Arc<AccountUsage>) -> Self {
        Self { account, unread: AtomicU64::new(0), charge: OnceLock::new() }
    }

    /// Sets how many bytes are unread now.
    pub(crate) fn set(&self, unread: usize) {
        self.unread.store(unread as u64, Ordering::SeqCst);
        self.charge_if_changed(unread as u64);
    }

    /// The bytes that are unread now.
    pub(super) fn unread(&self) -> u64 {
        self.unread.load(Ordering::SeqCst)
    }

    /// Whether the account has passed its limit and this was its fullest stream: it has to be reset. It stays so.
    pub(crate) fn is_shed(&self) -> bool {
        self.charge.get().is_some_and(|charge| charge.shed.load(Ordering::SeqCst))
    }

    fn enter(&self) -> Arc<Charge> {
        let charge = Arc::new(Charge::default());
        self.account.buffers.lock().add(&charge);
        charge
    }

    fn charge_if_changed(&self, unread: u64) {
        let charged = self.charge.get().map_or(0, |charge| charge.bytes.load(Ordering::SeqCst));
        if unread / CHARGE_GRAIN_BYTES != charged / CHARGE_GRAIN_BYTES {
            self.charge_unread();
        }
    }

    /// Charges what is unread now.
    #[cold]
    fn charge_unread(&self) {
        let charge = self.charge.get_or_init(|| self.enter());
        let limit = self.account.buffer_limit();
        let mut charged = self.account.buffers.lock();
        // Whoever counts while this runs sees the new charge or is seen here.
        loop {
            if charge.shed.load(Ordering::SeqCst) {
                return;
            }
            let unread = self.unread() / CHARGE_GRAIN_BYTES * CHARGE_GRAIN_BYTES;
            let before = charge.bytes.swap(unread, Ordering::SeqCst);
            charged.total = charged.total - before + unread;
            if self.unread() / CHARGE_GRAIN_BYTES * CHARGE_GRAIN_BYTES == unread {
                break;
            }
        }
        let shed = charged.shed(limit);
        drop(charged);
        for _ in 0..shed {
            self.account.refuse(LimitExceeded::new(Code::BufferFull, limit));
        }
    }
}

impl AccountUsage {
    /// A count of the bytes of one direction of a stream that have arrived and have not been read.
    pub(crate) fn buffer(self: &Arc<Self>) -> StreamBuffer {
        StreamBuffer::new(self.clone())
    }
}

impl Drop for StreamBuffer {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.get() {
            let mut charged = self.account.buffers.lock();
            if !charge.shed.load(Ordering::SeqCst) {
                charged.remove(charge);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Accounts, Limits};
    use adit_protocol::Account;
    use std::time::Instant;

    const KIB: usize = 1024;

    fn account_with(buffer_bytes: usize) -> Arc<AccountUsage> {
        let limits = Limits { buffer_bytes: buffer_bytes as u64, ..Limits::default() };
        Accounts::default().get(&Account::managed("me"), &limits)
    }

    #[test]
    fn a_stream_whose_reader_keeps_up_is_never_charged() {
        let account = account_with(1024 * KIB);
        let stream = account.buffer();
        for _ in 0..10_000 {
            stream.set(16 * KIB);
            stream.set(0);
        }
        assert!(stream.charge.get().is_none());
        stream.set(32 * KIB - 1);
        assert_eq!((stream.unread(), account.buffered_bytes()), (32 * 1024 - 1, 0));
        stream.set(32 * KIB);
        assert_eq!(account.buffered_bytes(), 32 * 1024);
        stream.set(32 * KIB - 1);
        assert_eq!(account.buffered_bytes(), 0, "what is read is given back at once");
        stream.set(100 * KIB);
        assert_eq!(account.buffered_bytes(), 96 * 1024);
        drop(stream);
        assert_eq!(account.buffered_bytes(), 0);
    }

    #[test]
    fn past_the_limit_the_fullest_stream_is_shed_and_only_that() {
        let account = account_with(1024 * KIB);
        let streams: Vec<_> = [256, 512, 200].map(|kib| (account.buffer(), kib)).into();
        for (stream, kib) in &streams {
            stream.set(kib * KIB);
        }
        assert_eq!(account.buffered_bytes(), (256 + 512 + 192) * 1024);
        streams[0].0.set(320 * KIB);
        assert_eq!(account.buffered_bytes(), 1024 * 1024, "at the limit, not past it");
        assert!(!streams[1].0.is_shed());
        streams[2].0.set(232 * KIB);
        let shed: Vec<bool> = streams.iter().map(|(stream, _)| stream.is_shed()).collect();
        assert_eq!(shed, [false, true, false]);
        assert_eq!(account.buffered_bytes(), (320 + 224) * 1024);
        let notice = account.take_refused(Instant::now()).unwrap();
        assert_eq!((notice.code, notice.limit, notice.count), (Code::BufferFull, 1024 * 1024, 1));
        streams[1].0.set(1536 * KIB);
        streams[1].0.set(0);
        assert_eq!(account.buffered_bytes(), (320 + 224) * 1024, "a shed stream no longer counts");
        drop(streams);
        assert_eq!(account.buffered_bytes(), 0);
    }

    #[test]
    fn one_stream_that_is_more_than_the_limit_is_shed_itself() {
        let account = account_with(1024 * KIB);
        let stream = account.buffer();
        stream.set(1024 * KIB + 32 * KIB);
        assert!(stream.is_shed());
        assert_eq!(account.buffered_bytes(), 0);
    }
}
