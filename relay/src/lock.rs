//! Locks of the relay's shared state.

pub(crate) use adit_system::POISONED;
