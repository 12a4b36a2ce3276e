//! Hostile consumers, services and clients of a real relay with a real tunnel.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod bodies;
mod client;
mod fixture;
mod floods;
mod framing;
mod hello;
mod proxies;
#[path = "../fixture/relay.rs"]
mod relay_fixture;
mod session;
mod silence;
mod spoofing;
mod suspended;
mod upgrades;
