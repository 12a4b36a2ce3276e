//! Consumers and clients that do their worst, against a real relay with a real tunnel behind it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod bodies;
mod client;
mod fixture;
mod floods;
mod framing;
mod hello;
mod patience;
mod proxies;
#[path = "../fixture/relay.rs"]
mod relay_fixture;
mod session;
mod spoofing;
mod suspended;
mod upgrades;
