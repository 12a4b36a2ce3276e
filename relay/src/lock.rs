//! Locks of the relay's shared state.

/// Why a lock is never poisoned, for `lock().expect(POISONED)`.
pub(crate) const POISONED: &str = "no code panics while it holds this lock";
