//! The region's other relays: the registry, the table that it keeps up to date, and the links to peers.

pub(crate) mod peer;
pub(crate) mod registry;
mod row;
pub(crate) mod table;
