//! Consumers and clients that do their worst, against a real relay with a real tunnel behind it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod bodies;
mod client;
mod floods;
mod framing;
mod patience;
mod place;
mod proxies;
mod spoofing;
mod suspended;
mod upgrades;
