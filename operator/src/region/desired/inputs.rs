//! What decides about the objects of a Region.

use crate::region::{key_material::KeyMaterial, object_names::ObjectNames};
use adit_api::Region;
use serde_json::Value;

/// The relays' port for HTTPS. Ports below 1024 would need a capability that the pods do not have.
pub(crate) const HTTPS_PORT: u16 = 8443;
/// The relays' port for plain HTTP.
pub(super) const HTTP_PORT: u16 = 8080;
/// The relays' port for links between them.
pub(super) const PEER_PORT: u16 = 7443;
/// The relays' port for probes and metrics.
pub(super) const OPS_PORT: u16 = 9090;
/// The port of a managed registry.
pub(super) const REDIS_PORT: u16 = 6379;

/// Settings of the operator that hold for all Regions.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProviderDefaults {
    /// The provider's name, for error pages and messages.
    pub(crate) name: Option<String>,
    /// An e-mail address for reports of abuse.
    pub(crate) abuse: Option<String>,
    /// The image of managed registries.
    pub(crate) registry_image: String,
}

/// All that decides about the objects of a Region.
#[derive(Clone, Debug)]
pub(in crate::region) struct DesiredInputs<'a> {
    /// The Region. Its spec is valid.
    pub(in crate::region) region: &'a Region,
    /// The operator's settings.
    pub(in crate::region) provider: &'a ProviderDefaults,
    /// Keys and certificates.
    pub(in crate::region) material: &'a KeyMaterial,
    /// The relays' image.
    pub(in crate::region) image: &'a str,
    /// A digest of the URLs of the store and the registry. Relays are restarted when it changes.
    pub(in crate::region) back_ends: &'a str,
    /// The digest of the inputs of the pod template that was applied last, and the template. With the same inputs it is
    /// kept, so that an upgrade of the operator restarts no relay.
    pub(in crate::region) kept_template: Option<(String, Value)>,
    /// `spec.replicas` of a Deployment that does not exist yet. Later the number is applied separately.
    pub(in crate::region) initial_replicas: Option<i32>,
}

impl DesiredInputs<'_> {
    pub(super) fn name(&self) -> &str {
        self.region.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn names(&self) -> ObjectNames<'_> {
        ObjectNames(self.name())
    }
}
