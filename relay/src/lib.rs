//! The relay: the public process that tunnels.
//!
//! A request takes one direction through these modules: `public` accepts and finishes TLS, `routing` maps the Host to an
//! endpoint and selects a session or a peer, `proxy` copies between the consumer and a stream.

pub mod accounts;
pub mod auth;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod lanes;
pub mod ops;
pub mod proxy;
pub mod public;
pub mod routing;
pub mod server;
pub mod session;
pub mod suspensions;
