//! A Complaint becomes a suspension, which every relay confirms.
//!
//! `filing` reads the object, the store does what its decision says, `relays` knows who has confirmed, pure `status` says
//! how far it has come.

mod filing;
mod reconcile;
mod relays;
mod run;
pub mod status;

pub use filing::filing;
pub use reconcile::ReconcileError;
pub use run::work;

/// The finalizer of Complaints: the store learns that the object has gone.
pub const FINALIZER: &str = "adit.dev/complaint";
/// The annotation with which a person gives up on telling the store: the value `true` lets a Complaint go at once.
pub const GIVE_UP_ANNOTATION: &str = "adit.dev/give-up";
/// The annotation that says who decided.
pub const DECIDED_BY_ANNOTATION: &str = "adit.dev/decided-by";
/// The annotation that says why it was decided so.
pub const REASON_ANNOTATION: &str = "adit.dev/reason";
