//! One relay alone with a client, a service and consumers: traffic, configuration and operation.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod encrypted;
mod headers;
mod kinds;
mod operation;
mod program;
#[path = "../fixture/relay.rs"]
mod relay_fixture;
mod reload;
mod slow_consumers;
mod standalone;
