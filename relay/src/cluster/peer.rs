//! Links between the relays of a region.
//!
//! A request that comes in at a relay without a session for its tunnel goes to one that has one, by HTTP/2 over mutual
//! TLS, and no further: `links` opens the streams, on connections that `dial` makes, and `listen` takes them. Both sides
//! have a certificate of the region's peer CA for the name `peer.<region domain>`.

pub mod ask;
pub mod dial;
pub mod links;
pub mod listen;
mod suspensions;
pub mod tls;

pub use links::{LinkError, PeerStreamPermit, Peers};
