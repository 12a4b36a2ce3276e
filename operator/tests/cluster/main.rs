//! The operator against a real API server, without nodes and controllers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;
mod cluster;
mod complaints;
mod cutting_proxy;
mod failover;
mod judgements;
mod kills;
mod many;
mod objects;
mod refusals;
mod replicas;
mod successors;
