//! The Adit client: the command `adit` and the embeddable library.

pub mod cli;
pub mod event;
pub mod problem;
pub mod service;
pub mod tunnel;

pub use event::Event;
pub use problem::Problem;
pub use service::{Service, TunnelSpec};
