//! Reconciles one Complaint: apply its decision in the store, see which relays have confirmed it, write the status.

use super::{
    context::ComplaintContext,
    filing,
    status::{Enforcement, status},
};
use crate::{
    clock::unix_seconds,
    controller::{Blocked, ObjectClient, ReconcileError, Reconciler, requeue_after},
    error_chain::error_chain,
    metrics::ResourceKind,
};
use adit_api::{
    Complaint, ComplaintStatus,
    complaint::{FINALIZER, GIVE_UP_ANNOTATION, OnDelete, Phase},
};
use adit_store::{ComplaintOutcome, EnforcementProgress, Store};
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, runtime::controller::Action};
use std::time::Duration;

/// Interval between reconciliations of a settled Complaint.
const RESYNC_INTERVAL: Duration = Duration::from_secs(300);
/// Interval while relays are outstanding or the store is unavailable.
const OUTSTANDING_INTERVAL: Duration = Duration::from_secs(4);
/// Interval right after a decision, while relays are about to confirm it.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(200);
/// How long relays are about to confirm a decision, in seconds.
const CONFIRM_SECONDS: i64 = 5;
/// How long a deletion that keeps the suspension waits for the store, in seconds.
const MAX_DELETE_DELAY_SECONDS: i64 = 60;

impl Reconciler for ComplaintContext {
    type Object = Complaint;
    const KIND: ResourceKind = ResourceKind::Complaint;
    const FINALIZER: &'static str = FINALIZER;

    async fn reconcile(&self, complaint: &Complaint) -> Result<Action, ReconcileError> {
        ObjectClient::new(&self.client, complaint)?.add_finalizer(complaint, FINALIZER).await?;
        let enforcement = self.apply_decision(complaint).await;
        let is_known = matches!(enforcement, Enforcement::Known(..));
        let status = self.patch_status(complaint, &enforcement).await?;
        Ok(requeue_after(next_interval(complaint, is_known, &status, Timestamp::now())))
    }

    /// Tells the store that the object is gone. The suspension stays, unless `onDelete` lifts it.
    async fn finalize(&self, complaint: &Complaint) -> Result<Action, ReconcileError> {
        let lift = complaint.spec.on_delete == OnDelete::Lift;
        let gave_up = complaint.annotations().get(GIVE_UP_ANNOTATION).is_some_and(|value| value == "true");
        if let Some(store) = self.store.as_ref().filter(|_| !gave_up) {
            let uid = complaint.uid().unwrap_or_default();
            let by = filing::decided_by(complaint);
            if let Err(error) = store.complaint_gone(&uid, lift, &by, unix_seconds()).await {
                let since =
                    complaint.metadata.deletion_timestamp.as_ref().map_or(0, |time| time.0.as_second());
                // The suspension stays whether or not the store learns of the deletion.
                if lift || Timestamp::now().as_second() - since < MAX_DELETE_DELAY_SECONDS {
                    let message = format!(
                        "The deletion waits for the store: {}; the annotation {GIVE_UP_ANNOTATION}: \"true\" ends the wait \
                         and keeps the suspension",
                        error_chain(&error)
                    );
                    let blocked = Enforcement::Blocked(Blocked::new("StoreUnavailable", message));
                    self.patch_status(complaint, &blocked).await?;
                    return Ok(requeue_after(OUTSTANDING_INTERVAL));
                }
            }
        }
        ObjectClient::new(&self.client, complaint)?.remove_finalizer().await?;
        Ok(Action::await_change())
    }
}

/// When a Complaint is reconciled again although nothing has changed. `is_known` says whether the progress is known.
fn next_interval(
    complaint: &Complaint,
    is_known: bool,
    status: &ComplaintStatus,
    now: Timestamp,
) -> Duration {
    let is_enforcing = status.phase == Some(Phase::Enforcing);
    let acknowledged = status.acknowledged_at.as_ref().map(|time| now.as_second() - time.0.as_second());
    if is_enforcing && acknowledged.is_some_and(|seconds| seconds < CONFIRM_SECONDS) {
        // A relay may have confirmed before the watch saw that the Complaint waits for it.
        return CONFIRM_INTERVAL;
    }
    if is_enforcing || !is_known {
        return OUTSTANDING_INTERVAL;
    }
    let until_end = complaint.spec.until.as_ref().map(|until| until.0.as_second() - now.as_second());
    let until_end = until_end.and_then(|seconds| u64::try_from(seconds).ok());
    until_end.map_or(RESYNC_INTERVAL, |seconds| Duration::from_secs(seconds + 1).min(RESYNC_INTERVAL))
}

impl ComplaintContext {
    /// Applies the decision in the store, which does nothing if it was applied before.
    async fn apply_decision(&self, complaint: &Complaint) -> Enforcement {
        let blocked = |reason, message| Enforcement::Blocked(Blocked { reason, message });
        let filing = match filing::filing(complaint) {
            Ok(filing) => filing,
            Err(error) => return blocked("InvalidSpec", format!("spec.against: {error}")),
        };
        let Some(store) = &self.store else {
            let message = "The operator has no store: set --store-url-file or ADIT_OPERATOR_STORE_URL";
            return blocked("NoStore", message.to_owned());
        };
        match store.judge(&filing, unix_seconds()).await {
            Ok(judged) => self.enforcement(store, judged).await,
            Err(error) => blocked("StoreUnavailable", error_chain(&error)),
        }
    }

    /// How far the enforcement has come. Only reports that were read after the decision can prove that all relays have
    /// confirmed it.
    async fn enforcement(&self, store: &Store, judged: ComplaintOutcome) -> Enforcement {
        if let Some(relays) = self.reports.get() {
            let progress = EnforcementProgress::of(&judged.complaint, &relays, unix_seconds());
            if progress.phase != adit_store::Phase::Enforced || judged.complaint.enforced_at.is_some() {
                return Enforcement::Known(Box::new(judged), progress);
            }
        }
        if self.reports.read(store).await.is_err() {
            return Enforcement::RelaysUnknown(Box::new(judged));
        }
        let relays = self.reports.get().unwrap_or_default();
        let progress = EnforcementProgress::of(&judged.complaint, &relays, unix_seconds());
        if progress.phase != adit_store::Phase::Enforced {
            return Enforcement::Known(Box::new(judged), progress);
        }
        match record_enforced(store, &judged).await {
            Some(latest) => Enforcement::Known(Box::new(latest), progress),
            None => Enforcement::RelaysUnknown(Box::new(judged)),
        }
    }

    /// Writes the status and its Event, unless the status is the same.
    async fn patch_status(
        &self,
        complaint: &Complaint,
        enforcement: &Enforcement,
    ) -> Result<ComplaintStatus, ReconcileError> {
        let status = status(complaint, enforcement, Timestamp::now());
        if complaint.status.as_ref() == Some(&status) {
            return Ok(status);
        }
        // A status that repeats parts of the one before is written only over that one.
        let repeats = !matches!(enforcement, Enforcement::Known(..));
        let version = complaint.resource_version().filter(|_| repeats);
        match ObjectClient::new(&self.client, complaint)?.patch_status(&status, version).await {
            Err(error) if repeats && error.code() == Some(409) => return Ok(status),
            written => written?,
        }
        let phase_before = complaint.status.as_ref().and_then(|status| status.phase);
        let has_changed = phase_before != status.phase;
        if has_changed || matches!(enforcement, Enforcement::Blocked(_)) {
            self.events.complaint_changed(complaint, &status).await;
        }
        if has_changed && status.phase == Some(Phase::Enforced) {
            let began = status.acknowledged_at.as_ref().map(|time| time.0.as_second());
            let seconds = began.map_or(0, |began| Timestamp::now().as_second() - began);
            self.metrics.record_enforced(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        }
        Ok(status)
    }
}

/// Records in the store that all relays have confirmed a Complaint. Returns it with the number of sessions that were closed
/// until then; `None` if the store does not answer or the Complaint has changed.
async fn record_enforced(store: &Store, judged: &ComplaintOutcome) -> Option<ComplaintOutcome> {
    let (id, version) = (&judged.complaint.filing.id, judged.complaint.version);
    let complaint = store.complaint_enforced(id, version, unix_seconds()).await.ok()??;
    store.judge(&complaint.filing, unix_seconds()).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_complaint_is_reconciled_when_it_ends() {
        let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let interval = |until: Option<&str>| {
            let complaint = serde_json::from_value(json!({
                "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint", "metadata": {"name": "c"},
                "spec": {"against": {"account": "adit|eve"}, "category": "Spam", "until": until},
            }));
            next_interval(&complaint.unwrap(), true, &ComplaintStatus::default(), now).as_secs()
        };
        assert_eq!(interval(None), 300);
        assert_eq!(interval(Some("2027-01-01T00:00:09Z")), 10);
        assert_eq!(interval(Some("2027-02-01T00:00:00Z")), 300);
        assert_eq!(interval(Some("2026-12-01T00:00:00Z")), 300, "it has ended");
    }
}
