//! How many relays there are, and who says so. Pure.

use super::super::observe::Said;
use adit_api::Region;

/// Who says how many relays there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    /// For a Deployment that is not there yet.
    pub(super) initial: Option<i32>,
    /// To be applied apart, by a manager of its own.
    pub(super) apart: Option<i32>,
}

impl Replicas {
    /// `now` is how many there are asked for, and who has said so.
    pub(super) fn of(region: &Region, now: Option<(i32, Said)>) -> Self {
        let wanted = region.replicas();
        let Some((now, said)) = now else { return Self { initial: Some(wanted), apart: None } };
        let apart = match region.spec.relays.autoscaling.as_ref().filter(|_| !region.spec.suspended) {
            // The autoscaler's from here on: never fewer than there are, but within its bounds.
            Some(autoscaling) if now == 0 => Some(autoscaling.min),
            Some(autoscaling) if said == Said::WithTheRest => {
                Some(now.clamp(autoscaling.min, autoscaling.max))
            }
            Some(_) => None,
            None if now != wanted || said != Said::Apart => Some(wanted),
            None => None,
        };
        Self { initial: None, apart }
    }
}

#[cfg(test)]
mod tests;
