//! What an account may use, counted and refused.
//!
//! Each relay counts for itself what goes through it: streams, requests and unread bytes. Sessions and tunnels are
//! limits of the region; for these the caller says what the region's table knows, and the larger count decides.
//! Permits give back what they hold when they are dropped.

mod account;
mod accounts;
mod buffer;
mod exceeded;
mod permit;
mod rate;
mod refused;

#[cfg(test)]
mod races;

pub use account::AccountUse;
pub use accounts::Accounts;
pub use adit_config::Limits;
pub use buffer::StreamBuffer;
pub use exceeded::Exceeded;
pub use permit::{SessionPermit, StreamPermit, TunnelPermit};
pub use refused::Refused;
