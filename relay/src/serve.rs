//! The life of a relay: open, bind, serve, drain, end.
