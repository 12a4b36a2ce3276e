//! The Adit client: the command `adit` and the embeddable library.
//!
//! An Adit provider makes a local service reachable under a public address. This crate is the side of the service: a
//! [`Client`] dials a region's relays and serves the streams that they open for consumers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let tunnel = adit::Tunnel::http("127.0.0.1:3000")
//!     .name("shop")
//!     .relay("eu.example.com")
//!     .token_file("token")
//!     .open()
//!     .await?;
//! println!("{}", tunnel.url());
//! tunnel.closed().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Programs that hold several tunnels, or want to know what happens to them, use [`Client::builder`] and
//! [`Client::events`]. TLS comes from rustls: unless the program has installed another provider of cryptography for its
//! process, aws-lc-rs is used.

#![allow(clippy::result_large_err, reason = "a problem is made once in a client's life, not once a request")]

pub mod address;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
mod context;
mod dial;
pub mod event;
pub mod event_queue;
mod identity;
mod lanes;
mod local;
pub mod problem;
mod published;
pub mod service;
mod session;
mod sessions;
mod tls;
pub mod token;
pub mod tunnel;
mod version;

pub use address::RelayAddress;
pub use client::{Client, ClientBuilder, StartError};
pub use event::Event;
pub use event_queue::Events;
pub use problem::Problem;
pub use service::{Service, TunnelSpec};
pub use token::TokenSource;
pub use tunnel::{Tunnel, TunnelBuilder};
pub use version::VERSION;
