//! Limits of an account: counting and refusing.
//!
//! Each relay counts for itself what goes through it: streams, requests and unread bytes. Sessions and tunnels are
//! limits of the region; for these the caller says what the region's table knows, and the larger count decides.
//! Permits give back what they hold when they are dropped.

mod buffer;
pub(crate) mod buffers;
mod charges;
mod directory;
mod exceeded;
mod permit;
mod permit_count;
mod rate;
mod refused;
mod usage;

#[cfg(test)]
mod races;

pub(crate) use adit_config::Limits;
pub(crate) use buffer::StreamBuffer;
pub(crate) use directory::Accounts;
pub(crate) use exceeded::LimitExceeded;
pub(crate) use permit::{SessionPermit, StreamPermit, TunnelPermit};
pub(crate) use refused::RefusalNotice;
pub(crate) use usage::AccountUsage;
