//! Links between the relays of a region.
//!
//! A request that comes in at a relay without a session for its tunnel goes to one that has one, by HTTP/2 over mutual
//! TLS, and no further: `links` opens the streams, on connections that `dial` makes. The other end is `proxy::peer`. Both sides
//! have a certificate of the region's peer CA for the name `peer.<region domain>`.

mod answer_cache;
pub(crate) mod ask;
pub(crate) mod dial;
pub(crate) mod links;
pub(crate) mod suspensions;
pub(crate) mod tls;

pub(crate) use links::{LinkError, PeerStreamPermit, Peers};
