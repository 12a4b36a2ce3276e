//! A Region: relays that share a domain and a registry.

mod spec;
mod status;

pub use spec::*;
pub use status::*;

/// The finalizer of Regions: relays are drained before their objects are deleted.
pub const FINALIZER: &str = "adit.dev/drain";
/// The annotation that ends draining at once: the value `true` lets the Region be deleted.
pub const GIVE_UP_ANNOTATION: &str = "adit.dev/give-up-draining";
/// The annotation that requests a new CA for links between relays. Each new value is followed once.
pub const ROLL_PEER_CA_ANNOTATION: &str = "adit.dev/roll-peer-ca";
/// The annotation that makes relays follow the image that comes with the operator: `Follow`.
pub const IMAGE_ANNOTATION: &str = "adit.dev/image";
