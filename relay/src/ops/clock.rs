//! The wall clock.

pub use adit_system::clock::now;
