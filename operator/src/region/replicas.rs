//! How many relays a region has, and who sets that number. Pure.

use super::observe::ReplicasOwner;
use adit_api::Region;

/// How the operator sets the number of relays.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    /// For a Deployment that does not exist yet.
    pub(super) initial: Option<i32>,
    /// To be applied by the separate field manager; `None` leaves the number as it is.
    pub(super) separate: Option<i32>,
}

impl Replicas {
    /// Decides for a Region. `current` is `spec.replicas` of the Deployment, and who owns the field.
    pub(super) fn of(region: &Region, current: Option<(i32, ReplicasOwner)>) -> Self {
        let desired = region.replicas();
        let Some((current, owner)) = current else {
            return Self { initial: Some(desired), separate: None };
        };
        let separate = match region.spec.relays.autoscaling.as_ref().filter(|_| !region.spec.suspended) {
            // The autoscaler takes over: it begins with the relays that run, within its bounds.
            Some(autoscaling) if current == 0 => Some(autoscaling.min),
            Some(autoscaling) if owner == ReplicasOwner::MainManager => {
                Some(current.clamp(autoscaling.min, autoscaling.max))
            }
            Some(_) => None,
            None if current != desired || owner != ReplicasOwner::SeparateManager => Some(desired),
            None => None,
        };
        Self { initial: None, separate }
    }
}

#[cfg(test)]
mod tests;
