//! Three relays with one Redis and one Postgres behind haproxy, a client on two of them, and faults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../fixture/clients.rs"]
mod clients;
mod cuts;
mod fixture;
mod homes;
mod killed_client;
mod links;
mod owners;
mod pools;
#[path = "../fixture/relay.rs"]
mod relay_fixture;
mod relays;
mod store;
