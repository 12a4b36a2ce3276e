//! Reconciles Certificates: every relay of some regions serves the certificate.
//!
//! `reconcile` turns a Certificate into a request (`request`) for the issuer, which standalone relays use too, or takes the
//! certificate from a Secret (`source`). Relays confirm what they serve, `relay_prober` verifies that by TLS, and the pure
//! `status` says how far the rollout has come.

mod context;
mod error;
mod handshake;
mod issue;
mod operator_key;
mod reconcile;
mod relay_prober;
mod request;
mod run;
mod source;
mod status;

pub(crate) use run::{CertificateSettings, run};
