//! What a Region's objects should be. Pure: the same inputs give the same objects.

mod autoscaling;
mod config;
mod network;
mod pods;
mod registry;
mod relays;
mod secrets;

pub use config::{RELAY_YAML, files, relay_yaml};
pub(super) use relays::{INPUTS_ANNOTATION, TEMPLATE_ANNOTATION};

use super::{material::Material, names::Names};
use crate::objects::{Kind, Object};
use adit_api::Region;
use serde_json::{Value, json};

/// The port of relays for HTTPS; those below 1024 would need a right that their pods do not have.
pub const HTTPS: u16 = 8443;
/// The port of relays for plain HTTP.
pub const HTTP: u16 = 8080;
/// The port of relays for links between them.
pub const PEER: u16 = 7443;
/// The port of relays for probes and metrics.
pub const OPS: u16 = 9090;
/// The port of a managed registry.
pub const REDIS: u16 = 6379;

/// What the operator was told once for all Regions.
#[derive(Clone, Debug, Default)]
pub struct Provider {
    /// The name, for error pages and messages.
    pub name: Option<String>,
    /// Where to write about abuse.
    pub abuse: Option<String>,
    /// The image of managed registries.
    pub registry_image: String,
}

/// All that decides what a Region's objects should be.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The Region, whose spec is valid.
    pub region: &'a Region,
    /// What holds for all Regions.
    pub provider: &'a Provider,
    /// What its Secrets hold.
    pub material: &'a Material,
    /// The image of the relays.
    pub image: &'a str,
    /// A digest of the back ends' URLs that relays are given: when it changes, relays are started anew.
    pub back_ends: &'a str,
    /// The pod template that was made of the same inputs before, perhaps by an earlier operator, and their digest:
    /// it stays, so that an upgrade of the operator restarts no relay.
    pub kept_template: Option<(String, Value)>,
    /// How many relays a Deployment begins with that is not there yet. Once it is there, `replicas` is applied apart.
    pub initial_replicas: Option<i32>,
}

impl Inputs<'_> {
    fn name(&self) -> &str {
        self.region.metadata.name.as_deref().unwrap_or_default()
    }

    fn names(&self) -> Names<'_> {
        Names(self.name())
    }
}

/// Everything that the Region should have, in the order in which it is applied; what is not here is pruned.
pub fn desired(inputs: &Inputs<'_>) -> Vec<Object> {
    let names = inputs.names();
    let account = json!({ "automountServiceAccountToken": false });
    let mut objects = vec![Object::new(Kind::ServiceAccount, names.relay(), account)];
    objects.extend(secrets::secrets(inputs));
    objects.push(config::config_map(inputs));
    objects.push(config::authority(inputs));
    objects.extend(network::policies(inputs));
    objects.extend(network::services(inputs));
    objects.extend(autoscaling::disruption_budget(inputs));
    objects.extend(registry::registry(inputs));
    objects.push(relays::deployment(inputs));
    objects.extend(autoscaling::autoscaler(inputs));
    objects.sort_by_key(|object| object.kind);
    objects
}

#[cfg(test)]
mod tests;
