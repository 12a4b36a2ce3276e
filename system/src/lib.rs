//! What all programs need of the operating system: the clock, locks, and files that only their owner may read.

pub mod clock;
pub mod private_file;

/// Why locking a mutex or an RwLock cannot fail, for `expect`. A lock is poisoned only when its holder panics.
pub const POISONED: &str = "no code panics while it holds this lock";
