//! A Certificate becomes a certificate that every relay of its regions serves.
//!
//! One way through it: `reconcile` looks at a Certificate, `request` makes of it what `adit_acme` understands (the same
//! code as in a standalone relay), the issuer puts the certificate into the store, relays confirm what they serve,
//! `inquiry` asks them by TLS whether it is so, and pure `status` says how far that has come.

mod handshake;
mod inquiry;
mod keeper;
mod reconcile;
mod request;
mod run;
mod source;
mod status;

pub use run::{Setting, run};

/// The finalizer of Certificates: relays stop serving what is deleted.
pub const FINALIZER: &str = "adit.dev/certificate";
/// The annotation with which a person asks for another certificate now: each new value is followed once. Its value is the
/// time of the wish (RFC 3339).
pub const RENEW_ANNOTATION: &str = "adit.dev/renew";
