//! What a client reports about itself.
