//! A Region becomes relays.

pub mod authority;
mod certificates;
pub mod desired;
pub mod domain;
mod finalize;
pub mod material;
pub mod names;
mod observe;
mod reconcile;
pub mod status;

pub use certificates::CertificateNames;
pub use reconcile::{Context, Guarded, ReconcileError, reconcile};

/// The finalizer of Regions: relays are drained before their objects go.
pub const FINALIZER: &str = "adit.dev/drain";
/// The annotation with which a person gives up on draining: the value `true` lets a Region go at once.
pub const GIVE_UP_ANNOTATION: &str = "adit.dev/give-up-draining";
/// The annotation with which a person asks for a new CA for links between relays: each new value is followed once.
pub const ROLL_PEER_CA_ANNOTATION: &str = "adit.dev/roll-peer-ca";
/// The annotation with which relays follow the image that comes with the operator: `Follow`.
pub const IMAGE_ANNOTATION: &str = "adit.dev/image";
