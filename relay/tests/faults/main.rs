//! One relay, its clients and their services, and what consumers and services do to them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aborts;
mod bulk;
mod consumers;
mod files;
mod fixture;
mod pools;
#[path = "../fixture/relay.rs"]
mod relay_fixture;
mod services;
mod slow;
