//! The end of a Region: its relays are drained, then its objects go, then the Region. Always within a bound.

use super::{
    GIVE_UP_ANNOTATION,
    names::Names,
    observe,
    reconcile::{Context, ReconcileError},
};
use crate::{children::Place, objects::Kind};
use adit_api::Region;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use std::{collections::BTreeSet, time::Duration};

/// What draining may take beyond the Region's own timeout: pods have to be told, and to go.
const BEYOND: Duration = Duration::from_secs(60);

/// How far the end has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finalized {
    /// Nothing is left.
    Done,
    /// It goes on, for the reason given.
    Waits(String),
}

pub(super) async fn finalize(
    region: &Region,
    place: &Place,
    context: &Context,
) -> Result<Finalized, ReconcileError> {
    let owner = region.controller_owner_ref(&()).ok_or(ReconcileError::Nameless)?;
    let relay = Names(&place.1).relay();
    if let Some(patience) = patience(region, Timestamp::now()) {
        let pods = observe::pods(&context.client, place).await?;
        if pods > 0 {
            // Its autoscaler would bring them back.
            context.applier.prune(place, &owner, &all_but_autoscaler(place, context)).await?;
            let there = context.applier.children().get(place, Kind::Deployment, &relay);
            if there.is_some_and(|meta| meta.owner.as_ref() == Some(&owner.uid) && !meta.is_deleting) {
                context.applier.scale(&place.0, &relay, 0).await?;
            }
            let seconds = patience.as_secs();
            return Ok(Finalized::Waits(format!(
                "{pods} relays drain, {seconds} s more at most; the annotation {GIVE_UP_ANNOTATION}: \"true\" ends it now"
            )));
        }
    }
    context.applier.prune(place, &owner, &BTreeSet::new()).await?;
    Ok(Finalized::Done)
}

/// How long draining may still take; nothing once it is over or given up.
fn patience(region: &Region, now: Timestamp) -> Option<Duration> {
    let given_up = region.metadata.annotations.as_ref().and_then(|all| all.get(GIVE_UP_ANNOTATION));
    if given_up.is_some_and(|value| value == "true") {
        return None;
    }
    let since = region.metadata.deletion_timestamp.as_ref()?.0;
    let passed = Duration::from_secs(u64::try_from(now.as_second() - since.as_second()).unwrap_or(0));
    (region.spec.relays.drain_timeout + BEYOND).checked_sub(passed).filter(|left| !left.is_zero())
}

fn all_but_autoscaler(place: &Place, context: &Context) -> BTreeSet<(Kind, String)> {
    let all = context.applier.children().of(place).into_iter();
    all.map(|(kind, name, _)| (kind, name))
        .filter(|(kind, _)| *kind != Kind::HorizontalPodAutoscaler)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn region(annotations: serde_json::Value) -> Region {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Region",
            "metadata": {"name": "eu", "annotations": annotations, "deletionTimestamp": "2027-01-01T00:00:00Z"},
            "spec": {"domain": "eu.example.com", "relays": {"drainTimeout": "30s"},
                "store": {"relaySecretRef": {"name": "s", "key": "url"}}},
        }))
        .unwrap()
    }

    #[test]
    fn draining_ends_in_time_or_when_a_person_says_so() {
        let at = |second: i64| {
            "2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap()
                + k8s_openapi::jiff::SignedDuration::from_secs(second)
        };
        let plain = region(json!({}));
        assert_eq!(patience(&plain, at(0)), Some(Duration::from_secs(90)));
        assert_eq!(patience(&plain, at(89)), Some(Duration::from_secs(1)));
        assert_eq!(patience(&plain, at(90)), None);
        assert_eq!(patience(&plain, at(-300)), Some(Duration::from_secs(90)), "clocks differ");
        assert_eq!(patience(&region(json!({GIVE_UP_ANNOTATION: "true"})), at(0)), None);
        assert!(patience(&region(json!({GIVE_UP_ANNOTATION: "false"})), at(0)).is_some());
    }
}
