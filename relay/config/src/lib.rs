//! The configuration sections that relay.yaml and a Region share, and how any Adit configuration file is read.
//!
//! A file goes one way: [`yaml::parse`] turns text into a tree within bounds, [`schema::check`] compares the tree with
//! the JSON Schema of the type that it is meant for and finds all [`Problem`]s at once, and serde makes the type.
//! The same schemas become the CRDs' and the reference documentation, so that there is one source for each rule.

pub mod access;
pub mod duration;
pub mod environment;
mod format;
pub mod limits;
pub mod name;
pub mod nearest;
pub mod problem;
pub mod revision;
pub mod schema;
pub mod secret;
pub mod size;
pub mod tcp_ports;
mod text;
pub mod version;
pub mod yaml;

pub use access::{Access, Issuer, Tokens};
pub use format::check_format;
pub use limits::Limits;
pub use name::DnsName;
pub use nearest::nearest;
pub use problem::{Path, Problem};
pub use schemars;
pub use secret::Secret;
pub use tcp_ports::TcpPorts;
pub use text::{Invalid, PATH_FORMAT};
pub use version::Version;
