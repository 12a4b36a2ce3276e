//! Adit on a real Kubernetes cluster. See the crate's documentation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_server;
mod certificates;
mod changes;
mod complaints;
mod judgements;
mod losses;
mod operator;
mod plugin;
mod published;
mod tunnels;
