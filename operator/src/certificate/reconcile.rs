//! One look at one Certificate.

use super::{
    FINALIZER,
    inquiry::{Answer, Inquiry},
    request::{self, RequestError},
    source::{self, SourceError},
    status::{Seen, status, to_be_asked},
};
use crate::{
    apply::CALL,
    events::Events,
    metrics::{Metrics, certificates::Standing},
    objects::MANAGER,
};
use adit_acme::{Issuer, Request, State, decide::renewal_time};
use adit_api::{Certificate, CertificateStatus};
use adit_store::{StoreError, StoredOrder};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::Store as Certificates},
};
use serde_json::json;
use std::{collections::HashSet, sync::Arc, time::Duration};

/// How often a Certificate is looked at although nothing has happened.
const AGAIN: Duration = Duration::from_secs(60);
/// How soon, while relays have yet to confirm.
const SOON: Duration = Duration::from_millis(500);
/// How soon, while something is missing that no watch tells of.
const MISSING: Duration = Duration::from_secs(10);
/// How soon, while a relay serves something else than it says.
const DISAGREEING: Duration = Duration::from_secs(5);

/// A Certificate, or what stands in its place and cannot be read as one.
pub(super) type Guarded = DeserializeGuard<Certificate>;

/// What all looks share.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) issuer: Issuer,
    pub(super) certificates: Certificates<Guarded>,
    pub(super) events: Events,
    pub(super) inquiry: Inquiry,
    pub(super) metrics: Arc<Metrics>,
}

/// A look that did not come to its end; it is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileError {
    /// The Certificate or a Secret could not be read or written.
    #[error("cannot {0}")]
    Kube(&'static str, #[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("the API server did not answer in {seconds} s", seconds = CALL.as_secs())]
    Slow,
    /// The store.
    #[error("the store is away")]
    Store(#[from] StoreError),
    /// The object has no name, namespace or uid.
    #[error("the object has no name, namespace or uid")]
    Nameless,
    /// It could not be published.
    #[error(transparent)]
    Publish(#[from] adit_acme::Failure),
}

pub(super) async fn reconcile(
    guarded: Arc<Guarded>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let certificate = match &guarded.0 {
        Ok(certificate) => certificate,
        Err(invalid) => {
            tracing::warn!(error = %invalid.error, "a Certificate cannot be read: it is left alone");
            return Ok(Action::await_change());
        }
    };
    let meta = &certificate.metadata;
    let (namespace, id) = meta.namespace.clone().zip(meta.uid.clone()).ok_or(ReconcileError::Nameless)?;
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    if meta.deletion_timestamp.is_some() {
        return finalize(certificate, &id, &secrets, &context).await;
    }
    if !meta.finalizers.iter().flatten().any(|one| one == FINALIZER) {
        set_finalizers(certificate, &[FINALIZER], &context).await?;
    }
    let mut seen = Seen { now: now(), ..Seen::default() };
    seen.stored = context.issuer.store.certificate(&id).await?;
    seen.relays = context.issuer.store.relays_seen().await?;
    if let Some(first) = first_of_same_name(certificate, &context) {
        seen.conflict = Some(first);
        say(certificate, &seen, &context).await?;
        count(&id, &seen, false, &context);
        return Ok(Action::requeue(MISSING));
    }
    let made = make_all(certificate, &id, &secrets, &mut seen, &context).await;
    let again = match made {
        Ok(again) => again,
        Err(SourceError::Request(RequestError::Wrong(wrong))) => {
            seen.wrong = Some(wrong);
            MISSING
        }
        Err(SourceError::Request(RequestError::Read(error))) => {
            return Err(ReconcileError::Kube("read a Secret", error));
        }
        Err(SourceError::Publish(adit_acme::Failure::Lost)) => SOON,
        Err(SourceError::Publish(failure)) => return Err(failure.into()),
    };
    // What was done may have taken minutes.
    seen.now = now();
    seen.relays = context.issuer.store.relays_seen().await?;
    ask(certificate, &mut seen, &context).await;
    let said = say(certificate, &seen, &context).await?;
    let is_out = said.conditions.iter().any(|one| one.type_ == "RolledOut" && one.status == "True");
    count(&id, &seen, is_out, &context);
    let again = if request::is_asked_soon(certificate, seen.now) { SOON } else { again };
    let settled = is_out || seen.stored.is_none() || seen.relays.is_empty();
    Ok(Action::requeue(again.min(match &seen.asked {
        _ if settled => AGAIN,
        Some(_) => DISAGREEING,
        None => SOON,
    })))
}

/// Notes for the metrics how a Certificate stands.
fn count(id: &str, seen: &Seen, is_rolled_out: bool, context: &Context) {
    let waits = |order: &&StoredOrder| order.failures > 0 && order.next_attempt > seen.now;
    let standing = Standing {
        not_after: seen.stored.as_ref().map(|stored| stored.not_after),
        next_attempt: seen.order.as_ref().filter(waits).map(|order| order.next_attempt),
        is_rolled_out,
    };
    let all = context.certificates.state();
    let uid = |guarded: &Arc<Guarded>| Resource::meta(guarded.as_ref()).uid.clone();
    let there: HashSet<String> = all.iter().filter_map(uid).collect();
    context.metrics.certificates().note(id, standing, |id| there.contains(id));
}

/// Asks the relays what they serve, once all of them have confirmed it.
async fn ask(certificate: &Certificate, seen: &mut Seen, context: &Context) {
    let relays = to_be_asked(certificate, seen);
    let Some(stored) = seen.stored.as_ref().filter(|_| !relays.is_empty()) else { return };
    let asked = context.inquiry.ask(stored, &relays).await;
    for one in asked.iter().filter(|one| matches!(one.answer, Answer::Other(_) | Answer::Refuses(_))) {
        let names = stored.names.join(",");
        tracing::warn!(names, relay = one.who, answer = ?one.answer, "a relay serves not what it has confirmed");
    }
    seen.asked = Some(asked);
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// As [`make`], and writes the Secret that was asked for.
async fn make_all(
    certificate: &Certificate,
    id: &str,
    secrets: &Api<Secret>,
    seen: &mut Seen,
    context: &Context,
) -> Result<Duration, SourceError> {
    let again = make(certificate, id, secrets, seen, context).await?;
    if let Some(stored) = seen.stored.as_ref().filter(|_| seen.is_current) {
        source::into_secret(certificate, stored, secrets, &context.issuer).await?;
    }
    Ok(again)
}

/// Issues or publishes what is asked for, and notes in `seen` what came of it. Returns when to look again.
async fn make(
    certificate: &Certificate,
    id: &str,
    secrets: &Api<Secret>,
    seen: &mut Seen,
    context: &Context,
) -> Result<Duration, SourceError> {
    let spec = &certificate.spec;
    let stored = match (&spec.acme, &spec.secret_ref) {
        (Some(acme), _) => {
            let request = request::request(certificate, id, acme, secrets, seen.now).await?;
            return Ok(issue(certificate, &request, seen, context).await?);
        }
        (None, Some(reference)) => {
            source::of_secret(certificate, id, reference, secrets, &context.issuer).await?
        }
        (None, None) => {
            let stored = source::self_signed(certificate, id, &context.issuer, seen.now).await?;
            let before = spec.renew_before.map(|before| before.as_secs());
            seen.renewal_at = Some(renewal_time(&stored, None, before));
            stored
        }
    };
    seen.is_current = true;
    seen.stored = Some(stored);
    Ok(AGAIN)
}

async fn issue(
    certificate: &Certificate,
    request: &Request,
    seen: &mut Seen,
    context: &Context,
) -> Result<Duration, adit_acme::Failure> {
    let made_for = request.made_for();
    let is_current = |seen: &Seen| seen.stored.as_ref().is_some_and(|stored| stored.made_for == made_for);
    seen.order = context.issuer.store.acme_order(&request.id).await?;
    seen.is_current = is_current(seen);
    // An attempt takes its time: that it is made is said before.
    let waits =
        seen.order.as_ref().is_some_and(|order| order.made_for == made_for && order.next_attempt > seen.now);
    let due = seen.stored.as_ref().is_none_or(|stored| {
        renewal_time(stored, seen.order.as_ref(), request.renew_before) <= seen.now
            || request.newer_than.is_some_and(|than| stored.issued_at <= than)
    });
    if (due || !seen.is_current) && !waits {
        let trying = Seen { is_trying: true, ..seen.clone() };
        if let Err(error) = say(certificate, &trying, context).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an attempt was not announced");
        }
    }
    let progress = context.issuer.advance(request).await?;
    match progress.state {
        State::Issued => {
            tracing::info!(names = request.names.join(","), "a certificate was issued");
            context.metrics.certificates().attempted(None);
        }
        State::Failed { reason } => context.metrics.certificates().attempted(Some(reason)),
        State::Kept | State::Waiting { .. } | State::Elsewhere => {}
    }
    seen.stored = progress.stored;
    seen.order = progress.order;
    seen.renewal_at = progress.renewal_at;
    seen.clock_ahead = progress.clock_ahead;
    seen.is_current = is_current(seen);
    Ok(progress.again)
}

/// The Certificate that had one of these names first, in the same region, and the name.
fn first_of_same_name(certificate: &Certificate, context: &Context) -> Option<(String, String)> {
    let age = |one: &Certificate| {
        (one.metadata.creation_timestamp.as_ref().map(|time| time.0), one.metadata.uid.clone())
    };
    let own = age(certificate);
    let regions = &certificate.spec.regions;
    let all = context.certificates.state();
    let mut others: Vec<&Certificate> = all
        .iter()
        .filter_map(|guarded| guarded.0.as_ref().ok())
        .filter(|other| other.metadata.uid != certificate.metadata.uid && age(other) < own)
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .collect();
    others.sort_by_key(|other| age(other));
    others.into_iter().find_map(|other| {
        let theirs = &other.spec.regions;
        let meet =
            regions.is_empty() || theirs.is_empty() || regions.iter().any(|region| theirs.contains(region));
        let name = certificate.spec.dns_names.iter().find(|name| other.spec.dns_names.contains(name))?;
        let meta = &other.metadata;
        let place = format!("{}/{}", meta.namespace.as_deref()?, meta.name.as_deref()?);
        meet.then(|| (place, name.clone()))
    })
}

/// Writes the status, if it has changed.
async fn say(
    certificate: &Certificate,
    seen: &Seen,
    context: &Context,
) -> Result<CertificateStatus, ReconcileError> {
    let status = status(certificate, seen, Timestamp::now());
    if certificate.status.as_ref() == Some(&status) {
        return Ok(status);
    }
    context.events.certificate_turned(certificate, &status).await;
    let patch = json!({
        "apiVersion": Certificate::api_version(&()), "kind": Certificate::kind(&()), "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let (api, name) = named(certificate, context)?;
    let written = tokio::time::timeout(CALL, api.patch_status(&name, &params, &Patch::Apply(&patch))).await;
    match written.map_err(|_| ReconcileError::Slow)? {
        Ok(_) => Ok(status),
        Err(kube::Error::Api(gone)) if gone.code == 404 => Ok(status),
        Err(error) => Err(ReconcileError::Kube("write the status", Box::new(error))),
    }
}

fn named(certificate: &Certificate, context: &Context) -> Result<(Api<Certificate>, String), ReconcileError> {
    let meta = &certificate.metadata;
    let (namespace, name) = meta.namespace.as_ref().zip(meta.name.clone()).ok_or(ReconcileError::Nameless)?;
    Ok((Api::namespaced(context.client.clone(), namespace), name))
}

async fn set_finalizers(
    certificate: &Certificate,
    finalizers: &[&str],
    context: &Context,
) -> Result<(), ReconcileError> {
    let (api, name) = named(certificate, context)?;
    let patch = json!({
        "apiVersion": Certificate::api_version(&()), "kind": Certificate::kind(&()),
        "metadata": { "name": name, "finalizers": finalizers },
    });
    let params = PatchParams::apply(MANAGER).force();
    let written = tokio::time::timeout(CALL, api.patch(&name, &params, &Patch::Apply(&patch))).await;
    match written.map_err(|_| ReconcileError::Slow)? {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(gone)) if gone.code == 404 => Ok(()),
        Err(error) => Err(ReconcileError::Kube("write the finalizers", Box::new(error))),
    }
}

/// The end of a Certificate: revoked if asked, and served no longer. What cannot be revoked does not keep it.
async fn finalize(
    certificate: &Certificate,
    id: &str,
    secrets: &Api<Secret>,
    context: &Context,
) -> Result<Action, ReconcileError> {
    if !certificate.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER) {
        return Ok(Action::await_change());
    }
    if let (true, Some(acme)) = (certificate.spec.revoke_on_delete, &certificate.spec.acme) {
        let revoked = match request::request(certificate, id, acme, secrets, now()).await {
            Ok(request) => context.issuer.revoke(&request).await.map_err(|failure| failure.words()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(failure) = revoked {
            tracing::warn!(id, failure, "a certificate was not revoked");
            context.events.certificate_not_revoked(certificate, &failure).await;
        }
    }
    context.issuer.store.remove_certificate(id).await?;
    context.metrics.certificates().forget(id);
    set_finalizers(certificate, &[], context).await?;
    Ok(Action::await_change())
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        Self::Publish(error.into())
    }
}
