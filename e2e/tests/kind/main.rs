//! Adit on a real Kubernetes cluster. See the crate's documentation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tunnels;
