//! Complaints: offenders go offline everywhere, and stay there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failover;
mod numbers;
mod partition;
mod place;
mod races;
mod regions;
mod standalone;
