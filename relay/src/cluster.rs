//! The region's other relays: the registry, the table that it keeps up to date, and the links to peers.

pub mod peer;
pub mod registry;
pub mod table;
