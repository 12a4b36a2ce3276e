//! The client library against a relay that tests can make behave in every way, right and wrong.

#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod control;
mod hostile;
mod https;
mod program;
mod relay;
mod requests;
mod sessions;
mod tcp;
mod upgrades;
