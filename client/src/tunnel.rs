//! Tunnels as a library.
