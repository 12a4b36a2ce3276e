//! One look at one Region: see, decide, apply, say.

mod replicas;
mod rights;
mod unreadable;

use super::{
    FINALIZER, IMAGE_ANNOTATION, ROLL_PEER_CA_ANNOTATION,
    authority::AuthorityError,
    certificates::CertificateNames,
    desired::{self, Inputs, Provider},
    domain,
    finalize::{self, Finalized},
    material::{Material, Moment},
    names::Names,
    observe::{ObserveError, Seen, observe},
    status::{Observed, State, Wanted, status},
};
use crate::{
    apply::{Applier, ApplyError, CALL},
    children::Place,
    events::Events,
    objects::MANAGER,
    store_view::{StoreView, words},
};
use adit_api::{Region, RegionStatus};
use adit_store::Store;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::Store as Regions},
};
use replicas::Replicas;
use rights::{grant, put_sealing_key};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use time::OffsetDateTime;

/// How often a Region is looked at although nothing has happened: certificates grow old, Secrets of others change.
const AGAIN: Duration = Duration::from_secs(300);
/// How soon, while something is missing that no watch tells of.
const SOON: Duration = Duration::from_secs(5);

/// What all looks share.
pub struct Context {
    /// To the API server, without retries of its own.
    pub client: Client,
    /// Applies objects.
    pub applier: Applier,
    /// All Regions, as they were last seen.
    pub regions: Regions<Guarded>,
    /// What relays say of themselves.
    pub view: Arc<StoreView>,
    /// The store, if the operator was given one.
    pub store: Option<Store>,
    /// Tells people.
    pub events: Events,
    /// What holds for all Regions.
    pub provider: Provider,
    /// The image of relays whose Region names none.
    pub relay_image: String,
    /// The roles that have been given their rights by this process.
    pub granted: Mutex<HashSet<String>>,
    /// What Certificates are called.
    pub certificates: CertificateNames,
}

/// A Region, or what stands in its place and cannot be read as one: that must not keep the operator from all others.
pub type Guarded = DeserializeGuard<Region>;

/// A look that did not come to its end; it is repeated.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something could not be read.
    #[error("cannot see what there is")]
    Observe(#[from] ObserveError),
    /// Something could not be written.
    #[error("cannot make it as it should be")]
    Apply(#[from] ApplyError),
    /// A certificate could not be made.
    #[error("cannot make certificates")]
    Authority(#[from] AuthorityError),
    /// The Region itself could not be written.
    #[error("cannot write the Region's {0}")]
    Region(&'static str, #[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("the API server did not answer in {} s", CALL.as_secs())]
    Slow,
    /// The object has no name, namespace or uid: no API server sends such a one.
    #[error("the object has no name, namespace or uid")]
    Nameless,
}

/// Looks at a Region, and does what there is to do.
///
/// # Errors
/// [`ReconcileError`]; whatever was done until then stays, and the next look goes on from there.
pub async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    match &guarded.0 {
        Ok(region) => reconcile_region(region, &context).await,
        Err(invalid) => unreadable::say(invalid, &context).await,
    }
}

async fn reconcile_region(region: &Region, context: &Context) -> Result<Action, ReconcileError> {
    let meta = &region.metadata;
    let place: Place = meta.namespace.clone().zip(meta.name.clone()).ok_or(ReconcileError::Nameless)?;
    let owner = region.controller_owner_ref(&()).ok_or(ReconcileError::Nameless)?;
    if meta.deletion_timestamp.is_some() {
        return finalize(region, &place, context).await;
    }
    if !meta.finalizers.iter().flatten().any(|one| one == FINALIZER) {
        set_finalizers(&context.client, &place, &[FINALIZER]).await?;
    }
    if let Some(stopped) = stopped(region, context) {
        let seen = observe(&context.client, region, &place).await?;
        let again = if stopped.0 == domain::TAKEN { SOON * 6 } else { AGAIN };
        let observed = Observed { stopped: Some(stopped), ..observed(region, &seen, context).await };
        say(region, &place, &observed, context).await?;
        return Ok(Action::requeue(jittered(again)));
    }
    let seen = observe(&context.client, region, &place).await?;
    let before = observed(region, &seen, context).await;
    if before.deployment.is_none() && !has_back_ends(&before) {
        // The first relays would only fail, again and again, ever more slowly.
        say(region, &place, &before, context).await?;
        return Ok(Action::requeue(jittered(SOON)));
    }
    let made = make(region, &place, &owner, &seen, context).await;
    let (revision, not_after) = match made {
        Ok(made) => made,
        Err(ReconcileError::Apply(error)) if error.is_refusal() => {
            let stopped = Some(("ApplyFailed", words(&error)));
            say(region, &place, &Observed { stopped, ..before }, context).await?;
            return Err(error.into());
        }
        Err(error) => return Err(error),
    };
    // What was applied just now is seen by the watches, which come back here.
    let observed = Observed { revision: Some(revision), not_after, ..before };
    let said = say(region, &place, &observed, context).await?;
    let settled = said.condition("Progressing").is_some_and(|progress| progress.status == "False");
    Ok(Action::requeue(jittered(if settled { AGAIN } else { SOON * 6 })))
}

fn has_back_ends(observed: &Observed) -> bool {
    !matches!(observed.store, State::Bad { .. } | State::Unknown)
        && !matches!(observed.registry, State::Bad { .. })
}

/// What keeps the operator from working on a Region. What the Region has stays as it is.
fn stopped(region: &Region, context: &Context) -> Option<(&'static str, String)> {
    let problems = region.problems();
    if !problems.is_empty() {
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Some(("InvalidSpec", text.join("; ")));
    }
    let all = context.regions.state();
    let mut regions = all.iter().filter_map(|guarded| guarded.0.as_ref().ok());
    let first = regions.find(|other| domain::is_before(other, region))?;
    let (namespace, name) = (first.metadata.namespace.clone()?, first.metadata.name.clone()?);
    let text = format!("spec.domain: {:?} is the domain of Region {namespace}/{name}", region.spec.domain);
    Some((domain::TAKEN, text))
}

async fn observed(region: &Region, seen: &Seen, context: &Context) -> Observed {
    let store = match (seen.store_secret(region), &context.store) {
        (bad @ State::Bad { .. }, _) => bad,
        (_, Some(_)) => context.view.state(),
        (_, None) => State::Bad {
            reason: "NoStore",
            message: "the operator has been given no store: set --store-url-file or ADIT_OPERATOR_STORE_URL"
                .to_owned(),
        },
    };
    let store = match store {
        State::Good if !context.view.is_migrated() => State::Unknown,
        other => other,
    };
    Observed {
        stopped: None,
        deployment: seen.deployment_seen(),
        reports: context.view.reports(&region.spec.domain),
        store,
        registry: seen.registry_secret(region),
        revision: region
            .status
            .as_ref()
            .and_then(|status| Some(status.config_revision.as_ref()?.revision.clone())),
        address: seen.address(),
        certificates: wanted(region, context).await,
        not_after: region.status.as_ref().and_then(|status| status.not_after.clone()),
    }
}

/// What the store has for the relays of a region.
async fn wanted(region: &Region, context: &Context) -> Option<Vec<Wanted>> {
    let store = context.store.as_ref().filter(|_| context.view.is_migrated())?;
    let set = store.certificates_for(&region.spec.domain).await.ok()?;
    let mut wanted = Vec::with_capacity(set.list.len());
    for (stored, _) in set.list {
        let called = context.certificates.name(&context.client, &stored.id).await;
        wanted.push(Wanted {
            called: called.unwrap_or_else(|| format!("for {}", stored.names.join(", "))),
            fingerprint: stored.fingerprint,
            not_after: stored.not_after,
        });
    }
    Some(wanted)
}

/// Makes everything as it should be. Returns the revision that relays should use, and when their certificate ends.
async fn make(
    region: &Region,
    place: &Place,
    owner: &OwnerReference,
    seen: &Seen,
    context: &Context,
) -> Result<(String, Option<String>), ReconcileError> {
    grant(seen, context).await;
    let annotation = |name: &str| region.metadata.annotations.as_ref()?.get(name).map(String::as_str);
    let moment = Moment {
        now: OffsetDateTime::now_utc(),
        confirmed: all_confirmed(region, seen, context),
        asked: annotation(ROLL_PEER_CA_ANNOTATION),
    };
    let material = Material::of(&seen.secrets, Names(&place.1), &region.spec.domain, moment)?;
    put_sealing_key(region, &material, context).await;
    let kept = seen.image().filter(|_| annotation(IMAGE_ANNOTATION) != Some("Follow"));
    let image = region.spec.relays.image.clone().or(kept).unwrap_or_else(|| context.relay_image.clone());
    let replicas = Replicas::of(region, seen.replicas());
    let back_ends = seen.back_ends();
    let inputs = Inputs {
        region,
        provider: &context.provider,
        material: &material,
        image: &image,
        back_ends: &back_ends,
        kept_template: seen.kept_template(),
        initial_replicas: replicas.initial,
    };
    let objects = desired::desired(&inputs);
    let deployment = Names(&place.1).relay();
    let mut written = 0_usize;
    for object in &objects {
        if let (Some(wanted), true) =
            (replicas.apart, object.kind == crate::objects::Kind::Deployment && object.name == deployment)
        {
            // First: while nobody but the main manager has named the field, leaving it out would make it 1.
            context.applier.scale(&place.0, &deployment, wanted).await?;
            context.events.scaled(region, wanted).await;
        }
        written += usize::from(context.applier.apply(place, object, owner).await?);
    }
    let wanted: BTreeSet<_> = objects.iter().map(|object| (object.kind, object.name.clone())).collect();
    let pruned = context.applier.prune(place, owner, &wanted).await?;
    context.events.applied(region, written, &pruned).await;
    let not_after = material.served_until().map(rfc3339);
    Ok((revision(&inputs), not_after))
}

/// Whether every relay uses what was last written. Without relays there is nobody to wait for.
fn all_confirmed(region: &Region, seen: &Seen, context: &Context) -> bool {
    let Some(revision) = region.status.as_ref().and_then(|status| status.config_revision.as_ref()) else {
        return false;
    };
    let reports = context.view.reports(&region.spec.domain);
    let wanted = seen.replicas().map_or(0, |(wanted, _)| usize::try_from(wanted).unwrap_or(0));
    reports.len() >= wanted && reports.iter().all(|report| report.revision == revision.revision)
}

/// The revision as relays compute it: of the digests of all files, in order.
fn revision(inputs: &Inputs<'_>) -> String {
    let files = desired::files(inputs);
    adit_config::revision::of(files.values().map(String::as_bytes))
}

fn rfc3339(time: OffsetDateTime) -> String {
    Timestamp::from_second(time.unix_timestamp()).map(|time| time.to_string()).unwrap_or_default()
}

/// Writes the status, if it has changed.
async fn say(
    region: &Region,
    place: &Place,
    observed: &Observed,
    context: &Context,
) -> Result<RegionStatus, ReconcileError> {
    let status = status(region, observed, Timestamp::now());
    if region.status.as_ref() == Some(&status) {
        return Ok(status);
    }
    context.events.turned(region, &status).await;
    let patch =
        json!({ "apiVersion": Region::api_version(&()), "kind": Region::kind(&()), "status": status });
    let api: Api<Region> = Api::namespaced(context.client.clone(), &place.0);
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&patch);
    let written = tokio::time::timeout(CALL, api.patch_status(&place.1, &params, &patch)).await;
    match written.map_err(|_| ReconcileError::Slow)? {
        Ok(_) => Ok(status),
        Err(error) => Err(ReconcileError::Region("status", Box::new(error))),
    }
}

async fn set_finalizers(client: &Client, place: &Place, finalizers: &[&str]) -> Result<(), ReconcileError> {
    let api: Api<Region> = Api::namespaced(client.clone(), &place.0);
    let patch = json!({
        "apiVersion": Region::api_version(&()), "kind": Region::kind(&()),
        "metadata": { "name": place.1, "finalizers": finalizers },
    });
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&patch);
    let written = tokio::time::timeout(CALL, api.patch(&place.1, &params, &patch)).await;
    match written.map_err(|_| ReconcileError::Slow)? {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(ReconcileError::Region("finalizers", Box::new(error))),
    }
}

async fn finalize(region: &Region, place: &Place, context: &Context) -> Result<Action, ReconcileError> {
    if !region.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER) {
        context.applier.forget(place);
        return Ok(Action::await_change());
    }
    match finalize::finalize(region, place, context).await? {
        Finalized::Done => {
            set_finalizers(&context.client, place, &[]).await?;
            context.applier.forget(place);
            Ok(Action::await_change())
        }
        Finalized::Waits(message) => {
            let seen = observe(&context.client, region, place).await?;
            let stopped = Some(("Draining", message));
            let observed = Observed { stopped, ..observed(region, &seen, context).await };
            say(region, place, &observed, context).await?;
            Ok(Action::requeue(Duration::from_secs(1)))
        }
    }
}

/// Not all at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.9..1.1))
}
