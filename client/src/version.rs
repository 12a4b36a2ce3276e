//! The client's version.

/// This client's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
