//! Certificates from a real CA, served by real relays.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod place;

mod away;
mod challenges;
mod rotation;
mod standalone;
