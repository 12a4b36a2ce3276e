//! The Adit client: the command `adit` and the embeddable library.

pub mod cli;
pub mod event;
pub mod tunnel;
