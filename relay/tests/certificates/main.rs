//! Certificates from a real CA, served by real relays.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod away;
mod challenges;
mod fixture;
mod rotation;
mod standalone;
