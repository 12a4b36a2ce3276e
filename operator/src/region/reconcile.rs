//! Reconciles one Region: observe, decide, apply, write the status.

use super::{
    apply_desired::{ApplyDesiredError, apply_desired},
    context::RegionContext,
    domain,
    finalize::{self, Progress},
    observe::{RegionObjects, observe},
    status::{ExpectedCertificate, RegionObservation, is_problem, status},
    unreadable,
};
use crate::{
    controller::{
        Blocked, Guarded, NamespacedName, ObjectClient, ReconcileError, Reconciler, find_condition,
        requeue_after,
    },
    error_chain::error_chain,
    metrics::ResourceKind,
    store_view::Reachability,
};
use adit_api::{Region, RegionStatus, region::FINALIZER};
use k8s_openapi::jiff::Timestamp;
use kube::{core::error_boundary::InvalidObject, runtime::controller::Action};
use std::{sync::Arc, time::Duration};

/// Interval between reconciliations of a settled Region: certificates grow old, and Secrets of others change.
const RESYNC_INTERVAL: Duration = Duration::from_secs(300);
/// Interval while relays have yet to follow.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);
/// Interval while a Region waits for its store or registry, which no watch tells of.
const BACK_END_INTERVAL: Duration = Duration::from_secs(5);
/// Interval while relays drain before a deletion.
const DRAIN_INTERVAL: Duration = Duration::from_secs(1);

impl Reconciler for RegionContext {
    type Object = Region;
    const KIND: ResourceKind = ResourceKind::Region;
    const FINALIZER: &'static str = FINALIZER;

    async fn reconcile(&self, region: &Region) -> Result<Action, ReconcileError> {
        let id = NamespacedName::of(region)?;
        let client = ObjectClient::new(&self.client, region)?;
        client.add_finalizer(region, FINALIZER).await?;

        let objects = observe(&self.client, region, &id).await?;
        let mut observation = self.observation(region, &objects).await;
        let mut refusal = None;
        let plan = decide(region, &self.regions.state(), &observation);
        match &plan {
            Plan::Block(blocked) => observation.blocked = Some(blocked.clone()),
            Plan::WaitForBackEnds => {}
            Plan::Apply => match apply_desired(self, region, &id, &objects).await {
                Ok(applied) => {
                    observation.revision = Some(applied.revision);
                    observation.not_after = applied.not_after;
                }
                Err(error) if error.is_refusal() => {
                    observation.blocked = Some(Blocked::new("ApplyFailed", error_chain(&error)));
                    refusal = Some(error);
                }
                Err(error) => return Err(failed(error)),
            },
        }
        let status = self.patch_status(region, &client, &observation).await?;
        match refusal {
            Some(error) => Err(failed(error)),
            None => Ok(requeue_after(interval(&plan, &status))),
        }
    }

    async fn finalize(&self, region: &Region) -> Result<Action, ReconcileError> {
        let id = NamespacedName::of(region)?;
        let client = ObjectClient::new(&self.client, region)?;
        match finalize::finalize(self, region, &id).await? {
            Progress::Done => {
                client.remove_finalizer().await?;
                self.applier.forget(&id);
                Ok(Action::await_change())
            }
            Progress::Draining(message) => {
                let objects = observe(&self.client, region, &id).await?;
                let blocked = Some(Blocked::new("Draining", message));
                let observation = RegionObservation { blocked, ..self.observation(region, &objects).await };
                self.patch_status(region, &client, &observation).await?;
                Ok(Action::requeue(DRAIN_INTERVAL))
            }
        }
    }

    fn forget(&self, region: &Region) {
        if let Ok(id) = NamespacedName::of(region) {
            self.applier.forget(&id);
        }
    }

    async fn reject(&self, invalid: &InvalidObject) -> Result<Action, ReconcileError> {
        unreadable::patch_status(&self.client, invalid).await?;
        Ok(requeue_after(RESYNC_INTERVAL))
    }
}

fn failed(error: ApplyDesiredError) -> ReconcileError {
    ReconcileError::Other("cannot apply the desired objects", Box::new(error))
}

/// What to do with a Region that is not being deleted.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Leave its objects as they are, for this reason.
    Block(Blocked),
    /// Leave it without relays until its store and registry can be used: relays would only fail, ever more slowly.
    WaitForBackEnds,
    /// Apply its objects.
    Apply,
}

fn decide(region: &Region, regions: &[Arc<Guarded<Region>>], observation: &RegionObservation) -> Plan {
    let problems: Vec<String> = region.problems().iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Plan::Block(Blocked::new("InvalidSpec", problems.join("; ")));
    }
    let others = regions.iter().filter_map(|guarded| guarded.0.as_ref().ok());
    if let Some(blocked) = domain::owner(region, others) {
        return Plan::Block(blocked);
    }
    let is_store_usable = observation.store == Reachability::Reachable;
    let is_registry_usable = !matches!(observation.registry, Reachability::Unreachable { .. });
    if observation.deployment.is_none() && !(is_store_usable && is_registry_usable) {
        return Plan::WaitForBackEnds;
    }
    Plan::Apply
}

/// When a Region is reconciled again although nothing has changed.
fn interval(plan: &Plan, status: &RegionStatus) -> Duration {
    let is_settled =
        find_condition(&status.conditions, "Progressing").is_some_and(|one| one.status == "False");
    match plan {
        Plan::Block(blocked) if blocked.reason == domain::TAKEN_REASON => PROGRESS_INTERVAL,
        Plan::WaitForBackEnds => BACK_END_INTERVAL,
        Plan::Apply if !is_settled => PROGRESS_INTERVAL,
        Plan::Block(_) | Plan::Apply => RESYNC_INTERVAL,
    }
}

impl RegionContext {
    /// All that decides about a Region and its status.
    async fn observation(&self, region: &Region, objects: &RegionObjects) -> RegionObservation {
        let status = region.status.as_ref();
        RegionObservation {
            blocked: None,
            deployment: objects.deployment_state(),
            reports: self.view.reports(&region.spec.domain),
            store: self.store_state(region, objects),
            registry: objects.registry_secret(region),
            revision: status.and_then(|status| Some(status.config_revision.as_ref()?.revision.clone())),
            address: objects.address(),
            certificates: self.expected_certificates(region).await,
            not_after: status.and_then(|status| status.not_after.clone()),
        }
    }

    fn store_state(&self, region: &Region, objects: &RegionObjects) -> Reachability {
        match (objects.store_secret(region), &self.store) {
            (missing @ Reachability::Unreachable { .. }, _) => missing,
            (_, None) => Reachability::Unreachable {
                reason: "NoStore",
                message: "The operator has no store: set --store-url-file or ADIT_OPERATOR_STORE_URL"
                    .to_owned(),
            },
            (_, Some(_)) => match self.view.reachability() {
                Reachability::Reachable if !self.view.is_migrated() => Reachability::Unknown,
                state => state,
            },
        }
    }

    /// The certificates that the store has for a region; `None` if the store does not answer.
    async fn expected_certificates(&self, region: &Region) -> Option<Vec<ExpectedCertificate>> {
        let store = self.store.as_ref().filter(|_| self.view.is_migrated())?;
        let set = store.certificates_for(&region.spec.domain).await.ok()?;
        let mut expected = Vec::with_capacity(set.list.len());
        for (stored, _) in set.list {
            let name = self.certificate_names.get(&self.client, &stored.id).await;
            expected.push(ExpectedCertificate {
                name: name.unwrap_or_else(|| format!("for {}", stored.names.join(", "))),
                fingerprint: stored.fingerprint,
                not_after: stored.not_after,
            });
        }
        Some(expected)
    }

    /// Writes the status and the Events of what has changed, unless the status is the same.
    async fn patch_status(
        &self,
        region: &Region,
        client: &ObjectClient<Region>,
        observation: &RegionObservation,
    ) -> Result<RegionStatus, ReconcileError> {
        let status = status(region, observation, Timestamp::now());
        if region.status.as_ref() != Some(&status) {
            let old = region.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            self.events.conditions_changed(region, old, &status.conditions, is_problem).await;
            client.patch_status(&status, None).await?;
        }
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::status::DeploymentState;
    use serde_json::json;

    fn region(spec: serde_json::Value) -> Region {
        let mut region = Region::new("eu", serde_json::from_value(spec).unwrap());
        region.metadata.uid = Some("eu".to_owned());
        region
    }

    fn spec() -> serde_json::Value {
        json!({"domain": "eu.example.com", "store": {"relaySecretRef": {"name": "s", "key": "url"}}})
    }

    fn away() -> Reachability {
        Reachability::Unreachable { reason: "ConnectFailed", message: "refused".to_owned() }
    }

    #[test]
    fn only_a_new_region_waits_for_its_back_ends() {
        let region = region(spec());
        let plan = |store: Reachability, registry: Reachability, has_relays: bool| {
            let deployment = has_relays.then(DeploymentState::default);
            decide(
                &region,
                &[],
                &RegionObservation { store, registry, deployment, ..RegionObservation::default() },
            )
        };
        let (good, unknown) = (Reachability::Reachable, Reachability::Unknown);
        assert_eq!(plan(good.clone(), good.clone(), false), Plan::Apply);
        for (store, registry) in [(unknown, good.clone()), (away(), good.clone()), (good, away())] {
            assert_eq!(plan(store.clone(), registry.clone(), false), Plan::WaitForBackEnds);
            assert_eq!(plan(store, registry, true), Plan::Apply, "relays that run are kept up to date");
        }
    }

    #[test]
    fn an_invalid_spec_blocks_the_region() {
        let mut spec = spec();
        spec["relays"] = json!({"drainTimeout": "2h"});
        let Plan::Block(blocked) = decide(&region(spec), &[], &RegionObservation::default()) else {
            panic!()
        };
        assert_eq!(blocked.reason, "InvalidSpec");
        assert_eq!(blocked.message, "spec.relays.drainTimeout: 2h is more than 1h");
    }
}
