//! The Adit client: the command `adit` and the embeddable library.
//!
//! An Adit provider makes a local service reachable under a public address. This crate is the side of the service: a
//! [`Client`] dials a region's relays, and serves the streams of consumers that those open.
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
mod dial;
pub mod event;
pub mod feed;
mod homing;
mod identity;
mod lanes;
mod local;
pub mod problem;
pub mod service;
mod session;
mod shared;
pub mod token;
pub mod tunnel;
mod tunnels;

pub use address::RelayAddress;
pub use client::{Client, ClientBuilder, StartError};
pub use event::Event;
pub use feed::Events;
pub use problem::Problem;
pub use service::{Service, TunnelSpec};
pub use token::TokenSource;
pub use tunnel::{Tunnel, TunnelBuilder};

/// This client's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
