//! Free ports.
