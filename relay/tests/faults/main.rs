//! One relay, its clients and their services, under faults of consumers and services.

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
