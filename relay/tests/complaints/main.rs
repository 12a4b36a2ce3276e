//! Complaints: offenders go offline everywhere, and stay there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../fixture/clients.rs"]
mod clients;
mod failover;
mod fixture;
mod numbers;
mod partition;
mod races;
mod regions;
#[path = "../fixture/relay.rs"]
mod relay_fixture;
mod standalone;
