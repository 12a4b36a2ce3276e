//! Reconciles one Certificate: observe, provide the certificate, verify what relays serve, write the status.

use super::{
    context::{CertificateContext, RESYNC_INTERVAL},
    error::CertificateError,
    issue::provide,
    relay_prober::ProbeOutcome,
    request::{self, is_renewal_imminent},
    status::{CertificateObservation, NameConflict, is_problem, relays_to_probe, status},
};
use crate::{
    clock::unix_seconds,
    controller::{
        Guarded, NamespacedName, ObjectClient, ReconcileError, Reconciler, UnnamedObject, find_condition,
        requeue_after,
    },
    error_chain::error_chain,
    metrics::{ResourceKind, certificates::CertificateSample},
};
use adit_api::{Certificate, CertificateStatus, certificate::FINALIZER};
use adit_store::StoredOrder;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, Resource, runtime::controller::Action};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// Interval while relays have yet to confirm.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(500);
/// Interval while something is missing that no watch tells of.
const BLOCKED_INTERVAL: Duration = Duration::from_secs(10);
/// Interval while a relay serves another certificate than it has confirmed.
const MISMATCH_INTERVAL: Duration = Duration::from_secs(5);

impl Reconciler for CertificateContext {
    type Object = Certificate;
    const KIND: ResourceKind = ResourceKind::Certificate;
    const FINALIZER: &'static str = FINALIZER;

    async fn reconcile(&self, certificate: &Certificate) -> Result<Action, ReconcileError> {
        let uid = certificate.metadata.uid.as_deref().ok_or(UnnamedObject)?;
        ObjectClient::new(&self.client, certificate)?.add_finalizer(certificate, FINALIZER).await?;

        let mut observation = self.observe(uid).await?;
        observation.conflict = name_conflict(certificate, &self.certificates.state());
        let mut interval = BLOCKED_INTERVAL;
        if observation.conflict.is_none() {
            let secrets = self.secrets(certificate)?;
            interval = match provide(self, certificate, uid, &secrets, &mut observation).await {
                Ok(interval) => interval,
                Err(CertificateError::Blocked(blocked)) => {
                    observation.blocked = Some(blocked);
                    BLOCKED_INTERVAL
                }
                // Another replica has the order.
                Err(CertificateError::Issuer(adit_acme::IssueError::FenceLost)) => CONFIRM_INTERVAL,
                Err(error) => return Err(error.into()),
            };
            // An attempt may have taken minutes.
            observation.now = unix_seconds();
            observation.relays = self.issuer.store.relays_seen().await?;
            self.probe(certificate, &mut observation).await;
        }
        let status = self.patch_status(certificate, &observation).await?;
        let is_rolled_out =
            find_condition(&status.conditions, "RolledOut").is_some_and(|one| one.status == "True");
        self.record(uid, &observation, is_rolled_out);
        Ok(requeue_after(next_interval(certificate, &observation, is_rolled_out, interval)))
    }

    /// Revokes the certificate if the spec asks for it, and removes it from the store. A failed revocation does not keep the
    /// object.
    async fn finalize(&self, certificate: &Certificate) -> Result<Action, ReconcileError> {
        let uid = certificate.metadata.uid.as_deref().ok_or(UnnamedObject)?;
        if let (true, Some(acme)) = (certificate.spec.revoke_on_delete, &certificate.spec.acme) {
            let secrets = self.secrets(certificate)?;
            let revoked = match request::request(certificate, uid, acme, &secrets, unix_seconds()).await {
                Ok(request) => self.issuer.revoke(&request).await.map_err(|failure| failure.error_chain()),
                Err(error) => Err(error_chain(&error)),
            };
            if let Err(error) = revoked {
                tracing::warn!(uid, error, "certificate not revoked");
                self.events.not_revoked(certificate, &error).await;
            }
        }
        self.issuer.store.remove_certificate(uid).await?;
        self.metrics.certificates().forget(uid);
        ObjectClient::new(&self.client, certificate)?.remove_finalizer().await?;
        Ok(Action::await_change())
    }
}

/// When a Certificate is reconciled again although nothing has changed.
fn next_interval(
    certificate: &Certificate,
    observation: &CertificateObservation,
    is_rolled_out: bool,
    interval: Duration,
) -> Duration {
    if observation.conflict.is_some() {
        return interval;
    }
    let interval =
        if is_renewal_imminent(certificate, observation.now) { CONFIRM_INTERVAL } else { interval };
    let is_settled = is_rolled_out || observation.stored.is_none() || observation.relays.is_empty();
    interval.min(match &observation.probes {
        _ if is_settled => RESYNC_INTERVAL,
        Some(_) => MISMATCH_INTERVAL,
        None => CONFIRM_INTERVAL,
    })
}

/// The older Certificate that has one of these names in one of these regions.
fn name_conflict(certificate: &Certificate, all: &[Arc<Guarded<Certificate>>]) -> Option<NameConflict> {
    let age = |one: &Certificate| {
        (one.metadata.creation_timestamp.as_ref().map(|time| time.0), one.metadata.uid.clone())
    };
    let own_age = age(certificate);
    let mut older: Vec<&Certificate> = all
        .iter()
        .filter_map(|guarded| guarded.0.as_ref().ok())
        .filter(|other| other.metadata.uid != certificate.metadata.uid && age(other) < own_age)
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .collect();
    older.sort_by_key(|other| age(other));
    older.into_iter().find_map(|other| {
        let (regions, others) = (&certificate.spec.regions, &other.spec.regions);
        let share_regions =
            regions.is_empty() || others.is_empty() || regions.iter().any(|region| others.contains(region));
        let dns_name = certificate.spec.dns_names.iter().find(|name| other.spec.dns_names.contains(name))?;
        let owner = NamespacedName::of(other).ok()?;
        share_regions.then(|| NameConflict { owner, dns_name: dns_name.clone() })
    })
}

impl CertificateContext {
    fn secrets(&self, certificate: &Certificate) -> Result<Api<Secret>, UnnamedObject> {
        let namespace = certificate.metadata.namespace.as_deref().ok_or(UnnamedObject)?;
        Ok(Api::namespaced(self.client.clone(), namespace))
    }

    /// What the store has of a Certificate and of the relays.
    async fn observe(&self, uid: &str) -> Result<CertificateObservation, ReconcileError> {
        Ok(CertificateObservation {
            stored: self.issuer.store.certificate(uid).await?,
            relays: self.issuer.store.relays_seen().await?,
            now: unix_seconds(),
            ..CertificateObservation::default()
        })
    }

    /// Verifies by TLS what relays serve, once all of them have confirmed the certificate.
    async fn probe(&self, certificate: &Certificate, observation: &mut CertificateObservation) {
        let relays = relays_to_probe(certificate, observation);
        let Some(stored) = observation.stored.as_ref().filter(|_| !relays.is_empty()) else { return };
        let probes = self.prober.probe(stored, &relays).await;
        for probe in &probes {
            if matches!(probe.outcome, ProbeOutcome::ServesOther(_) | ProbeOutcome::Refuses(_)) {
                let (names, relay, outcome) = (stored.names.join(","), &probe.relay, &probe.outcome);
                tracing::warn!(
                    names,
                    relay,
                    ?outcome,
                    "relay does not serve the certificate that it confirmed"
                );
            }
        }
        observation.probes = Some(probes);
    }

    /// Records the state of a Certificate for the metrics.
    fn record(&self, uid: &str, observation: &CertificateObservation, is_rolled_out: bool) {
        let has_failed = |order: &&StoredOrder| order.failures > 0 && order.next_attempt > observation.now;
        let sample = CertificateSample {
            not_after: observation.stored.as_ref().map(|stored| stored.not_after),
            next_attempt: observation.order.as_ref().filter(has_failed).map(|order| order.next_attempt),
            is_rolled_out,
        };
        let all = self.certificates.state();
        let existing: HashSet<&str> = all.iter().filter_map(|one| one.meta().uid.as_deref()).collect();
        self.metrics.certificates().record(uid, sample, |uid| existing.contains(uid));
    }

    /// Writes the status and the Events of what has changed, unless the status is the same.
    pub(super) async fn patch_status(
        &self,
        certificate: &Certificate,
        observation: &CertificateObservation,
    ) -> Result<CertificateStatus, ReconcileError> {
        let status = status(certificate, observation, Timestamp::now());
        if certificate.status.as_ref() != Some(&status) {
            let old = certificate.status.as_ref().map(|old| old.conditions.as_slice()).unwrap_or_default();
            self.events.conditions_changed(certificate, old, &status.conditions, is_problem).await;
            ObjectClient::new(&self.client, certificate)?.patch_status(&status, None).await?;
        }
        Ok(status)
    }
}
