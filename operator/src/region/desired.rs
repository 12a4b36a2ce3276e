//! The desired objects of a Region. Pure: the same inputs give the same objects.

mod autoscaling;
mod inputs;
mod network;
mod pods;
mod registry;
mod relay_config;
mod relays;
mod secrets;

pub(super) use inputs::DesiredInputs;
pub(crate) use inputs::{HTTPS_PORT, ProviderDefaults};
pub(super) use relay_config::revision;
pub(super) use relays::{INPUTS_ANNOTATION, TEMPLATE_ANNOTATION};

use crate::objects::{Kind, Object};
use serde_json::json;

/// All desired objects of a Region, in the order of application. The Region's other objects are pruned.
pub(super) fn desired(inputs: &DesiredInputs<'_>) -> Vec<Object> {
    let names = inputs.names();
    let account = json!({ "automountServiceAccountToken": false });
    let mut objects = vec![Object::new(Kind::ServiceAccount, names.relay(), account)];
    objects.extend(secrets::secrets(inputs));
    objects.push(relay_config::config_map(inputs));
    objects.push(relay_config::authority(inputs));
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
