//! Certificates by ACME (RFC 8555), for standalone relays and the operator.
//!
//! [`decide`] decides the next step for a certificate and is pure; [`Issuer::advance`] takes the step. Orders and keys are
//! in the store before they are used, so that the next process continues where another one was killed. A fence in the
//! store keeps two processes from issuing the same certificate.

mod account;
mod account_lock;
mod advance;
pub mod certificate;
mod client;
pub mod decide;
mod distribute;
pub mod dns;
mod error;
mod issuer;
mod order;
mod proof;
mod renewal;
mod request;
mod retry;
mod seal;

pub use advance::{CertificateState, IssueProgress};
pub use certificate::KeyAlgorithm;
pub use client::{CallError, ClientError};
pub use distribute::{Distribution, open_key};
pub use error::{CaRefusal, IssueError};
pub use issuer::Issuer;
pub use proof::RELAY_ALIVE_SECONDS;
pub use request::{Binding, Ca, Dns01, Proof, Request, digest};
pub use seal::{SealError, SealingKey, seal};
