//! The store against real back ends: one contract for SQLite and Postgres, outages, a failover, roles.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod failover;
mod fixture;
mod outage;
mod roles;
