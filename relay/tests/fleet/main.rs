//! Three relays with one Redis and one Postgres behind haproxy, a client on two of them, and faults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod cuts;
mod homes;
mod links;
mod owners;
mod place;
mod pools;
mod relays;
mod store;
