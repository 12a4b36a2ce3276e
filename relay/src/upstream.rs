//! The choice between a local session and a peer.
