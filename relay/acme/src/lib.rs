//! Certificates by ACME (RFC 8555): what a standalone relay and the operator have in common.
//!
//! [`decide`] says, without looking at anything, what to do next for a certificate; [`Issuer::advance`] does it. Orders
//! and keys are in the store before they are needed, so that whoever comes next goes on where another one was killed;
//! a fence in the store keeps two from doing the same.

mod account;
mod after;
pub mod certificate;
mod client;
pub mod decide;
pub mod dns;
mod failure;
mod issuer;
mod order;
mod proof;
mod request;
mod retry;
mod seal;
mod spread;
mod turn;

pub use certificate::KeyAlgorithm;
pub use client::{CallError, ClientError};
pub use failure::{Failure, Refused};
pub use issuer::{Issuer, Progress, State};
pub use proof::CONFIRM_SECONDS;
pub use request::{Binding, Ca, Dns01, Proof, Request, digest};
pub use seal::{SealError, SealingKey, seal};
pub use spread::{Spread, open_key};
