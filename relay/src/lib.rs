//! The relay: the public process that tunnels.
//!
//! A request takes one direction through these modules: `public` accepts, `tls` picks the certificate, `route` maps
//! the Host to an endpoint, `upstream` selects a session or a peer, `proxy` copies between the consumer and a stream.

pub mod access;
pub mod access_log;
pub mod admin;
pub mod args;
pub mod buffers;
pub mod config;
pub mod enforce;
pub mod lanes;
pub mod limits;
pub mod local;
pub mod metrics;
pub mod ops;
pub mod peer;
pub mod proxy;
pub mod public;
pub mod registry;
pub mod relay;
pub mod reload;
pub mod report;
pub mod route;
pub mod serve;
pub mod service;
pub mod session;
pub mod table;
pub mod tls;
pub mod upstream;
