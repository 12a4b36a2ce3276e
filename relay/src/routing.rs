//! Where a stream goes: from an endpoint to a session of this relay or to a peer.

pub mod local;
pub mod route;
pub mod upstream;
