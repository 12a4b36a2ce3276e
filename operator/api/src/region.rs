//! A Region: relays that share a domain and a registry.

mod spec;
mod status;

pub use spec::*;
pub use status::*;
