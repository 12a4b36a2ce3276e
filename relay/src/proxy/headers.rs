//! Hop-by-hop and forwarding headers.
