//! The sessions of this relay.
