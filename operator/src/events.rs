//! Events about Regions, Certificates and Complaints.

use crate::{controller::find_condition, objects::Kind};
use adit_api::{Certificate, Complaint, ComplaintStatus, Region};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use std::time::Duration;

/// Maximum duration of the write of an Event, which a reconciliation waits for.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum length of a note in characters; the API server accepts 1 kB.
const MAX_NOTE_CHARS: usize = 1000;

/// Publishes Events. An Event that cannot be written is dropped, because the conditions say the same.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
}

impl Events {
    /// A publisher for the replica with this identity.
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: "adit-operator".into(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    async fn publish<K>(&self, object: &K, kind: EventType, reason: &str, action: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_: kind,
            reason: reason.into(),
            action: action.into(),
            note: Some(note.chars().take(MAX_NOTE_CHARS).collect()),
            secondary: None,
        };
        let reference = object.object_ref(&());
        let published =
            tokio::time::timeout(PUBLISH_TIMEOUT, self.recorder.publish(&event, &reference)).await;
        if !matches!(published, Ok(Ok(()))) {
            tracing::debug!(reason, "event dropped");
        }
    }

    /// Publishes each condition whose status or reason has changed. Conditions that begin as `False` are left out.
    /// `is_problem` tells which Events are warnings.
    pub(crate) async fn conditions_changed<K>(
        &self,
        object: &K,
        old: &[Condition],
        new: &[Condition],
        is_problem: fn(&Condition) -> bool,
    ) where
        K: Resource<DynamicType = ()>,
    {
        for condition in new.iter().filter(|condition| condition.status != "Unknown") {
            let has_changed = match find_condition(old, &condition.type_) {
                Some(before) => before.status != condition.status || before.reason != condition.reason,
                None => condition.status == "True",
            };
            if has_changed {
                let kind = if is_problem(condition) { EventType::Warning } else { EventType::Normal };
                let note = format!("{}={}: {}", condition.type_, condition.status, condition.message);
                self.publish(object, kind, &condition.reason, "Reconcile", note).await;
            }
        }
    }

    /// A deleted Certificate could not be revoked.
    pub(crate) async fn not_revoked(&self, certificate: &Certificate, problem: &str) {
        let note = format!("The certificate was not revoked: {problem}");
        self.publish(certificate, EventType::Warning, "NotRevoked", "Revoke", note).await;
    }

    /// The operator wrote or deleted objects of a Region.
    pub(crate) async fn applied(&self, region: &Region, written: usize, pruned: &[(Kind, String)]) {
        if region.status.is_none() && written > 0 {
            let note = format!("The operator created {written} objects");
            self.publish(region, EventType::Normal, "Created", "Apply", note).await;
        }
        for (kind, name) in pruned {
            let note =
                format!("The operator deleted {} {name}: the Region no longer needs it", kind.as_str());
            self.publish(region, EventType::Normal, "Pruned", "Delete", note).await;
        }
    }

    /// The operator set the number of relays.
    pub(crate) async fn scaled(&self, region: &Region, replicas: i32) {
        let note = format!("The operator set the number of relays to {replicas}");
        self.publish(region, EventType::Normal, "Scaled", "Scale", note).await;
    }

    /// A Complaint has reached another phase, or cannot be carried out.
    pub(crate) async fn complaint_changed(&self, complaint: &Complaint, new: &ComplaintStatus) {
        let Some(ready) = find_condition(&new.conditions, "Ready") else { return };
        let kind = if ready.status == "False" { EventType::Warning } else { EventType::Normal };
        self.publish(complaint, kind, &ready.reason, "ApplyDecision", ready.message.clone()).await;
    }
}
