//! Provides the certificate of a Certificate: from a CA, from a Secret, or self-signed.

use super::{
    context::{CertificateContext, RESYNC_INTERVAL},
    error::CertificateError,
    request, source,
    status::CertificateObservation,
};
use crate::error_chain::error_chain;
use adit_acme::{CertificateState, Request, decide::renewal_time};
use adit_api::Certificate;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use std::time::Duration;

/// Issues or publishes the certificate, and copies it to the Secret that the spec names. Records the result in
/// `observation`. Returns when to reconcile again.
pub(super) async fn provide(
    context: &CertificateContext,
    certificate: &Certificate,
    uid: &str,
    secrets: &Api<Secret>,
    observation: &mut CertificateObservation,
) -> Result<Duration, CertificateError> {
    let interval = publish(context, certificate, uid, secrets, observation).await?;
    if let Some(stored) = observation.stored.as_ref().filter(|_| observation.is_current) {
        source::copy_to_secret(certificate, stored, secrets, &context.issuer).await?;
    }
    Ok(interval)
}

async fn publish(
    context: &CertificateContext,
    certificate: &Certificate,
    uid: &str,
    secrets: &Api<Secret>,
    observation: &mut CertificateObservation,
) -> Result<Duration, CertificateError> {
    let spec = &certificate.spec;
    let stored = match (&spec.acme, &spec.secret_ref) {
        (Some(acme), _) => {
            let request = request::request(certificate, uid, acme, secrets, observation.now).await?;
            return issue(context, certificate, &request, observation).await;
        }
        (None, Some(reference)) => {
            source::publish_secret(certificate, uid, reference, secrets, &context.issuer).await?
        }
        (None, None) => {
            let stored = source::self_signed(certificate, uid, &context.issuer, observation.now).await?;
            let renew_before = spec.renew_before.map(|before| before.as_secs());
            observation.renewal_at = Some(renewal_time(&stored, None, renew_before));
            stored
        }
    };
    observation.is_current = true;
    observation.stored = Some(stored);
    Ok(RESYNC_INTERVAL)
}

/// Takes the next step of an order at a CA.
async fn issue(
    context: &CertificateContext,
    certificate: &Certificate,
    request: &Request,
    observation: &mut CertificateObservation,
) -> Result<Duration, CertificateError> {
    let made_for = request.made_for();
    let is_current = |observation: &CertificateObservation| {
        observation.stored.as_ref().is_some_and(|stored| stored.made_for == made_for)
    };
    observation.order = context.issuer.store.acme_order(&request.id).await?;
    observation.is_current = is_current(observation);
    if is_attempt_due(request, &made_for, observation) {
        // The attempt may take minutes, so the status says before that it is being made.
        let attempting = CertificateObservation { is_attempting: true, ..observation.clone() };
        if let Err(error) = context.patch_status(certificate, &attempting).await {
            tracing::debug!(error = error_chain(&error), "cannot announce an attempt in the status");
        }
    }
    let progress = context.issuer.advance(request).await?;
    match progress.state {
        CertificateState::Issued => {
            tracing::info!(names = request.names.join(","), "certificate issued");
            context.metrics.certificates().record_attempt(None);
        }
        CertificateState::Failed { reason } => context.metrics.certificates().record_attempt(Some(reason)),
        CertificateState::UpToDate | CertificateState::Waiting { .. } | CertificateState::IssuedElsewhere => {
        }
    }
    observation.stored = progress.stored;
    observation.order = progress.order;
    observation.renewal_at = progress.renewal_at;
    observation.clock_ahead = progress.clock_ahead;
    observation.is_current = is_current(observation);
    Ok(progress.next_check)
}

/// Whether the issuer will make an attempt now.
fn is_attempt_due(request: &Request, made_for: &str, observation: &CertificateObservation) -> bool {
    let now = observation.now;
    let has_to_wait = observation
        .order
        .as_ref()
        .is_some_and(|order| order.made_for == made_for && order.next_attempt > now);
    let is_due = observation.stored.as_ref().is_none_or(|stored| {
        renewal_time(stored, observation.order.as_ref(), request.renew_before) <= now
            || request.newer_than.is_some_and(|than| stored.issued_at <= than)
    });
    (is_due || !observation.is_current) && !has_to_wait
}
