//! Cleans up after a Region: its relays are drained, then its objects are deleted. Bounded in time.

use super::{context::RegionContext, object_names::ObjectNames, observe};
use crate::{
    apply::ApplyError,
    controller::{NamespacedName, ReconcileError, UnnamedObject},
    objects::Kind,
};
use adit_api::{Region, region::GIVE_UP_ANNOTATION};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use std::{collections::BTreeSet, time::Duration};

/// Time for pods to be told and to end, in addition to the Region's drain timeout.
const EXTRA_DRAIN_TIME: Duration = Duration::from_secs(60);

/// How far the deletion of a Region has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left.
    Done,
    /// Relays are draining; the message of the condition.
    Draining(String),
}

/// Takes the next step of a Region's deletion.
pub(super) async fn finalize(
    context: &RegionContext,
    region: &Region,
    id: &NamespacedName,
) -> Result<Progress, ReconcileError> {
    let failed =
        |error: ApplyError| ReconcileError::Other("cannot delete the Region's objects", Box::new(error));
    let owner = region.controller_owner_ref(&()).ok_or(UnnamedObject)?;
    let relay = ObjectNames(&id.name).relay();
    if let Some(time_left) = drain_time_left(region, Timestamp::now()) {
        let pods = observe::count_pods(&context.client, id).await?;
        if pods > 0 {
            // The autoscaler would start relays again.
            let keep = all_but_autoscaler(context, id);
            context.applier.prune(id, &owner, &keep).await.map_err(failed)?;
            let deployment = context.applier.children().get(id, Kind::Deployment, &relay);
            if deployment.is_some_and(|meta| meta.owner.as_ref() == Some(&owner.uid) && !meta.is_deleting) {
                context.applier.scale(&id.namespace, &relay, 0).await.map_err(failed)?;
            }
            let seconds = time_left.as_secs();
            return Ok(Progress::Draining(format!(
                "{pods} relays are draining, for {seconds} s more at most; the annotation {GIVE_UP_ANNOTATION}: \"true\" \
                 ends it now"
            )));
        }
    }
    context.applier.prune(id, &owner, &BTreeSet::new()).await.map_err(failed)?;
    Ok(Progress::Done)
}

/// How long draining may still take; `None` once its time is over or a person has given up on it.
fn drain_time_left(region: &Region, now: Timestamp) -> Option<Duration> {
    if region.annotations().get(GIVE_UP_ANNOTATION).is_some_and(|value| value == "true") {
        return None;
    }
    let since = region.metadata.deletion_timestamp.as_ref()?.0;
    let passed = Duration::from_secs(u64::try_from(now.as_second() - since.as_second()).unwrap_or(0));
    (region.spec.relays.drain_timeout + EXTRA_DRAIN_TIME).checked_sub(passed).filter(|left| !left.is_zero())
}

fn all_but_autoscaler(context: &RegionContext, id: &NamespacedName) -> BTreeSet<(Kind, String)> {
    let children = context.applier.children().of(id).into_iter();
    children
        .map(|(kind, name, _)| (kind, name))
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
    fn draining_ends_in_time_or_when_a_person_gives_up() {
        let at = |second: i64| {
            "2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap()
                + k8s_openapi::jiff::SignedDuration::from_secs(second)
        };
        let plain = region(json!({}));
        assert_eq!(drain_time_left(&plain, at(0)), Some(Duration::from_secs(90)));
        assert_eq!(drain_time_left(&plain, at(89)), Some(Duration::from_secs(1)));
        assert_eq!(drain_time_left(&plain, at(90)), None);
        assert_eq!(drain_time_left(&plain, at(-300)), Some(Duration::from_secs(90)), "the clocks differ");
        assert_eq!(drain_time_left(&region(json!({GIVE_UP_ANNOTATION: "true"})), at(0)), None);
        assert!(drain_time_left(&region(json!({GIVE_UP_ANNOTATION: "false"})), at(0)).is_some());
    }
}
