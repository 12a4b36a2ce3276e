//! The listeners that consumers and clients reach.
