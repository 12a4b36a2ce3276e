//! The relay: the public process that tunnels.
//!
//! A request takes one direction through these modules: `public` accepts and finishes TLS, `routing` maps the Host to an
//! endpoint and selects a session or a peer, `proxy` copies between the consumer and a stream.

mod accounts;
pub mod auth;
mod certificates;
pub mod cli;
mod cluster;
pub mod config;
mod lanes;
mod lock;
pub mod ops;
pub mod proxy;
mod public;
mod routing;
pub mod server;
mod session;
pub mod suspensions;
