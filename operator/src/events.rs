//! What people are told: Events.

use crate::objects::Kind;
use adit_api::{Certificate, CertificateStatus, Complaint, ComplaintStatus, Region, RegionStatus};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use std::time::Duration;

/// The longest that an Event may take: nothing waits for one for long.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most characters of a note: the API server takes no more.
const MAX_NOTE: usize = 1000;

/// Tells people. An Event that cannot be written is dropped: conditions say the same.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events of this replica.
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: "adit-operator".into(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    async fn publish<K>(&self, object: &K, kind: EventType, reason: &str, action: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        let note = note.chars().take(MAX_NOTE).collect();
        let event = Event {
            type_: kind,
            reason: reason.into(),
            action: action.into(),
            note: Some(note),
            secondary: None,
        };
        let reference = object.object_ref(&());
        let published = tokio::time::timeout(PATIENCE, self.recorder.publish(&event, &reference)).await;
        if !matches!(published, Ok(Ok(()))) {
            tracing::debug!(reason, "an Event was dropped");
        }
    }

    /// A condition of a Certificate has turned.
    pub async fn certificate_turned(&self, certificate: &Certificate, new: &CertificateStatus) {
        let old = certificate.status.as_ref();
        for condition in &new.conditions {
            let before = old.and_then(|old| old.conditions.iter().find(|one| one.type_ == condition.type_));
            let same = before
                .is_some_and(|before| before.status == condition.status && before.reason == condition.reason);
            if same || (before.is_none() && condition.status != "True") {
                continue;
            }
            let calm = condition.type_ == "Issuing" || condition.type_ == "RolledOut";
            let good = (condition.status == "True") == (condition.type_ != "Conflict");
            let kind = if good || calm { EventType::Normal } else { EventType::Warning };
            let note = format!("{}={}: {}", condition.type_, condition.status, condition.message);
            self.publish(certificate, kind, &condition.reason, "Reconcile", note).await;
        }
    }

    /// A Certificate was deleted, and what was issued for it could not be revoked.
    pub async fn certificate_not_revoked(&self, certificate: &Certificate, why: &str) {
        self.publish(certificate, EventType::Warning, "NotRevoked", "Revoke", why.to_owned()).await;
    }

    /// Objects were written or deleted.
    pub async fn applied(&self, region: &Region, written: usize, pruned: &[(Kind, String)]) {
        let is_new = region.status.is_none();
        if is_new && written > 0 {
            self.publish(
                region,
                EventType::Normal,
                "Created",
                "Apply",
                format!("{written} objects were made"),
            )
            .await;
        }
        for (kind, name) in pruned {
            let note = format!("{} {name} is not wanted any more", kind.as_str());
            self.publish(region, EventType::Normal, "Pruned", "Delete", note).await;
        }
    }

    /// The number of relays was set.
    pub async fn scaled(&self, region: &Region, replicas: i32) {
        self.publish(
            region,
            EventType::Normal,
            "Scaled",
            "Scale",
            format!("{replicas} relays are asked for"),
        )
        .await;
    }

    /// A Complaint has come to another phase, or cannot be carried out.
    pub async fn judged(&self, complaint: &Complaint, new: &ComplaintStatus) {
        let Some(ready) = new.conditions.iter().find(|one| one.type_ == "Ready") else { return };
        let kind = if ready.status == "False" { EventType::Warning } else { EventType::Normal };
        self.publish(complaint, kind, &ready.reason, "Judge", ready.message.clone()).await;
    }

    /// A condition has turned.
    pub async fn turned(&self, region: &Region, new: &RegionStatus) {
        for condition in &new.conditions {
            let before = region.status.as_ref().and_then(|status| status.condition(&condition.type_));
            let same = before
                .is_some_and(|before| before.status == condition.status && before.reason == condition.reason);
            if same || condition.status == "Unknown" || (before.is_none() && condition.status != "True") {
                continue;
            }
            let good = (condition.status == "True")
                || condition.type_ == "Progressing" && condition.reason == "Done";
            let kind = if good { EventType::Normal } else { EventType::Warning };
            let note = format!("{}={}: {}", condition.type_, condition.status, condition.message);
            self.publish(region, kind, &condition.reason, "Reconcile", note).await;
        }
    }
}
