//! One look at one Complaint: tell the store, see who has confirmed, say so.

use super::{
    FINALIZER, GIVE_UP_ANNOTATION, filing,
    relays::Relays,
    status::{Outcome, status},
};
use crate::{apply::CALL, events::Events, metrics::Metrics, objects::MANAGER, store_view::words};
use adit_api::{
    Complaint, ComplaintStatus,
    complaint::{OnDelete, Phase},
};
use adit_store::{Judged, Standing, Store, StoreError};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::controller::Action,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// How often a Complaint is looked at although nothing has happened.
const AGAIN: Duration = Duration::from_secs(300);
/// How soon while relays are outstanding, or the store is away.
const SOON: Duration = Duration::from_secs(5);
/// How soon in the first seconds, when relays are about to confirm.
const AT_ONCE: Duration = Duration::from_millis(200);
/// For so long they are about to.
const FRESH_SECONDS: i64 = 5;
/// For so long a Complaint whose suspension stays anyway waits for the store to hear that it has gone.
const PATIENCE_SECONDS: i64 = 60;

/// A Complaint, or what stands in its place and cannot be read as one.
pub(super) type Guarded = DeserializeGuard<Complaint>;

/// What all looks share.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) store: Option<Store>,
    pub(super) relays: Relays,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
}

/// A look that did not come to its end; it is repeated.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The Complaint could not be written.
    #[error("cannot write the Complaint's {0}")]
    Write(&'static str, #[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("the API server did not answer in {} s", CALL.as_secs())]
    Slow,
    /// The store did not answer.
    #[error("the store does not answer")]
    Store(#[from] StoreError),
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

pub(super) async fn reconcile(guarded: Arc<Guarded>, context: &Context) -> Result<Action, ReconcileError> {
    let complaint = match &guarded.0 {
        Ok(complaint) => complaint,
        Err(invalid) => {
            let meta = &invalid.metadata;
            tracing::warn!(
                name = meta.name,
                namespace = meta.namespace,
                error = invalid.error,
                "cannot be read as a Complaint"
            );
            return Ok(Action::requeue(AGAIN));
        }
    };
    let has_finalizer = complaint.finalizers().iter().any(|one| one == FINALIZER);
    if complaint.metadata.deletion_timestamp.is_some() {
        return if has_finalizer { finalize(complaint, context).await } else { Ok(Action::await_change()) };
    }
    if !has_finalizer {
        set_finalizers(complaint, context, &[FINALIZER]).await?;
    }
    let outcome = judge(complaint, context).await;
    let said = say(complaint, &outcome, context).await?;
    Ok(Action::requeue(again(complaint, &outcome, &said)))
}

async fn judge(complaint: &Complaint, context: &Context) -> Outcome {
    let filing = match filing::filing(complaint) {
        Ok(filing) => filing,
        Err(error) => return Outcome::Stopped("InvalidSpec", format!("spec.against: {error}")),
    };
    let Some(store) = &context.store else {
        let message = "the operator has been given no store: set --store-url-file or ADIT_OPERATOR_STORE_URL";
        return Outcome::Stopped("NoStore", message.to_owned());
    };
    let judged = match store.judge(&filing, now()).await {
        Ok(judged) => judged,
        Err(error) => return Outcome::Stopped("StoreUnavailable", words(&error)),
    };
    match standing(store, context, judged).await {
        Ok((judged, standing)) => Outcome::Judged(Box::new(judged), standing),
        Err(judged) => Outcome::RelaysUnknown(judged),
    }
}

/// How far it has come. That all have confirmed is believed only of relays that were read after the decision was made.
async fn standing(
    store: &Store,
    context: &Context,
    mut judged: Judged,
) -> Result<(Judged, Standing), Box<Judged>> {
    let known = context.relays.get();
    if let Some(relays) = known {
        let standing = Standing::of(&judged.complaint, &relays, now());
        if standing.phase != adit_store::Phase::Enforced || judged.complaint.enforced_at.is_some() {
            return Ok((judged, standing));
        }
    }
    if context.relays.read(store).await.is_err() {
        return Err(Box::new(judged));
    }
    let relays = context.relays.get().unwrap_or_default();
    let standing = Standing::of(&judged.complaint, &relays, now());
    if standing.phase == adit_store::Phase::Enforced {
        let (id, version) = (&judged.complaint.filing.id, judged.complaint.version);
        match store.complaint_enforced(id, version, now()).await {
            // Once more, for how many sessions were closed until then.
            Ok(Some(complaint)) => match store.judge(&complaint.filing, now()).await {
                Ok(last) => judged = last,
                Err(_) => return Err(Box::new(judged)),
            },
            Ok(None) | Err(_) => return Err(Box::new(judged)),
        }
    }
    Ok((judged, standing))
}

/// When to look again.
fn again(complaint: &Complaint, outcome: &Outcome, said: &ComplaintStatus) -> Duration {
    let is_enforcing = said.phase == Some(Phase::Enforcing);
    let since = said.acknowledged_at.as_ref().map(|time| Timestamp::now().as_second() - time.0.as_second());
    if is_enforcing && since.is_some_and(|since| since < FRESH_SECONDS) {
        // A confirmation may have come before its status was seen to wait for one.
        return AT_ONCE;
    }
    if !matches!(outcome, Outcome::Judged(..)) || is_enforcing {
        return SOON.mul_f64(rand::random_range(0.5..1.0));
    }
    let ends = complaint.spec.until.as_ref().map(|until| until.0.as_second() - Timestamp::now().as_second());
    let ends =
        ends.and_then(|seconds| u64::try_from(seconds).ok()).map(|seconds| Duration::from_secs(seconds + 1));
    ends.map_or(AGAIN, |ends| ends.min(AGAIN)).mul_f64(rand::random_range(1.0..1.1))
}

/// Writes the status, if it has changed.
async fn say(
    complaint: &Complaint,
    outcome: &Outcome,
    context: &Context,
) -> Result<ComplaintStatus, ReconcileError> {
    let status = status(complaint, outcome, Timestamp::now());
    if complaint.status.as_ref() == Some(&status) {
        return Ok(status);
    }
    let before = complaint.status.as_ref().and_then(|status| status.phase);
    let mut patch =
        json!({ "apiVersion": Complaint::api_version(&()), "kind": Complaint::kind(&()), "status": status });
    let is_retold = !matches!(outcome, Outcome::Judged(..));
    if is_retold {
        // It repeats what the status said, which may have been written anew since it was read.
        patch["metadata"] = json!({ "resourceVersion": complaint.resource_version() });
    }
    let api: Api<Complaint> = api(complaint, context);
    let (name, params) = (complaint.name_any(), PatchParams::apply(MANAGER).force());
    let patch = Patch::Apply(&patch);
    let written = tokio::time::timeout(CALL, api.patch_status(&name, &params, &patch)).await;
    match written.map_err(|_| ReconcileError::Slow)? {
        Ok(_) => {}
        // The newer one is looked at next.
        Err(kube::Error::Api(refused)) if is_retold && refused.code == 409 => return Ok(status),
        Err(error) => return Err(ReconcileError::Write("status", Box::new(error))),
    }
    if before != status.phase || matches!(outcome, Outcome::Stopped(..)) {
        context.events.judged(complaint, &status).await;
    }
    if before != status.phase && status.phase == Some(Phase::Enforced) {
        let began = status.acknowledged_at.as_ref().map(|time| time.0.as_second());
        let took = began.map_or(0, |began| Timestamp::now().as_second() - began);
        context.metrics.enforced(Duration::from_secs(u64::try_from(took).unwrap_or(0)));
    }
    Ok(status)
}

fn api(complaint: &Complaint, context: &Context) -> Api<Complaint> {
    Api::namespaced(context.client.clone(), &complaint.namespace().unwrap_or_default())
}

async fn set_finalizers(
    complaint: &Complaint,
    context: &Context,
    finalizers: &[&str],
) -> Result<(), ReconcileError> {
    let patch = json!({
        "apiVersion": Complaint::api_version(&()), "kind": Complaint::kind(&()),
        "metadata": { "name": complaint.name_any(), "uid": complaint.uid(), "finalizers": finalizers },
    });
    let api = api(complaint, context);
    let (name, params) = (complaint.name_any(), PatchParams::apply(MANAGER).force());
    let patch = Patch::Apply(&patch);
    let written = tokio::time::timeout(CALL, api.patch(&name, &params, &patch)).await;
    match written.map_err(|_| ReconcileError::Slow)? {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(ReconcileError::Write("finalizers", Box::new(error))),
    }
}

/// The object goes. The suspension stays, unless `onDelete` lifts it.
async fn finalize(complaint: &Complaint, context: &Context) -> Result<Action, ReconcileError> {
    let lift = complaint.spec.on_delete == OnDelete::Lift;
    let given_up = complaint.annotations().get(GIVE_UP_ANNOTATION).is_some_and(|value| value == "true");
    if let (Some(store), false) = (&context.store, given_up) {
        let id = complaint.uid().unwrap_or_default();
        if let Err(error) = store.complaint_gone(&id, lift, &filing::decided_by(complaint), now()).await {
            let since = complaint.metadata.deletion_timestamp.as_ref().map_or(0, |time| time.0.as_second());
            // What stays stays, whether or not the store knows that the object has gone.
            if lift || Timestamp::now().as_second() - since < PATIENCE_SECONDS {
                let message = format!(
                    "its deletion waits for the store: {}; the annotation {GIVE_UP_ANNOTATION}: \"true\" lets it go, and \
                     leaves the suspension as it is",
                    words(&error)
                );
                say(complaint, &Outcome::Stopped("StoreUnavailable", message), context).await?;
                return Ok(Action::requeue(SOON));
            }
        }
    }
    set_finalizers(complaint, context, &[]).await?;
    Ok(Action::await_change())
}
