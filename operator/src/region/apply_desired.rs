//! Applies the objects of a Region, and deletes those that it no longer needs.

use super::{
    authority::AuthorityError,
    context::RegionContext,
    desired::{self, DesiredInputs},
    key_material::{KeyMaterial, RotationInputs},
    object_names::ObjectNames,
    observe::RegionObjects,
    replicas::Replicas,
    store_access::{grant_role, publish_sealing_key},
};
use crate::{apply::ApplyError, controller::NamespacedName, objects::Kind};
use adit_api::{
    Region,
    region::{IMAGE_ANNOTATION, ROLL_PEER_CA_ANNOTATION},
};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// The result of an application.
pub(super) struct Applied {
    /// The revision of the configuration that relays should use.
    pub(super) revision: String,
    /// When the development certificate expires (RFC 3339).
    pub(super) not_after: Option<String>,
}

/// Why the objects could not be applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyDesiredError {
    /// An object could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A certificate could not be issued.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The Region has no uid.
    #[error("the Region has no uid")]
    NoUid,
}

impl ApplyDesiredError {
    /// Whether the same call will fail again until something else changes.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Apply(error) if error.is_refusal())
    }
}

/// Applies all desired objects of a Region, then deletes the others.
pub(super) async fn apply_desired(
    context: &RegionContext,
    region: &Region,
    id: &NamespacedName,
    objects: &RegionObjects,
) -> Result<Applied, ApplyDesiredError> {
    grant_role(context, objects).await;
    let owner = region.controller_owner_ref(&()).ok_or(ApplyDesiredError::NoUid)?;
    let names = ObjectNames(&id.name);
    let rotation = RotationInputs {
        now: OffsetDateTime::now_utc(),
        is_confirmed: has_every_relay_confirmed(context, region, objects),
        requested: region.annotations().get(ROLL_PEER_CA_ANNOTATION).map(String::as_str),
    };
    let material = KeyMaterial::of(&objects.secrets, names, &region.spec.domain, rotation)?;
    publish_sealing_key(context, region, &material).await;
    let image = image(context, region, objects);
    let replicas = Replicas::of(region, objects.replicas());
    let back_ends = objects.back_ends_digest();
    let inputs = DesiredInputs {
        region,
        provider: &context.provider,
        material: &material,
        image: &image,
        back_ends: &back_ends,
        kept_template: objects.kept_template(),
        initial_replicas: replicas.initial,
    };
    let desired = desired::desired(&inputs);
    let mut written = 0_usize;
    for object in &desired {
        let is_relays = object.kind == Kind::Deployment && object.name == names.relay();
        if let Some(replicas) = replicas.separate.filter(|_| is_relays) {
            // Before the rest: if only the main manager has named the field, leaving it out would make it 1.
            context.applier.scale(&id.namespace, &object.name, replicas).await?;
            context.events.scaled(region, replicas).await;
        }
        written += usize::from(context.applier.apply(id, object, &owner).await?);
    }
    let keep: BTreeSet<_> = desired.iter().map(|object| (object.kind, object.name.clone())).collect();
    let pruned = context.applier.prune(id, &owner, &keep).await?;
    context.events.applied(region, written, &pruned).await;
    let not_after = material.development_not_after();
    Ok(Applied { revision: desired::revision(&inputs), not_after: not_after.map(rfc3339) })
}

/// The relays' image: the Region's, else the one that they run, else the operator's.
fn image(context: &RegionContext, region: &Region, objects: &RegionObjects) -> String {
    let follows = region.annotations().get(IMAGE_ANNOTATION).is_some_and(|value| value == "Follow");
    let kept = objects.image().filter(|_| !follows);
    region.spec.relays.image.clone().or(kept).unwrap_or_else(|| context.relay_image.clone())
}

/// Whether every relay uses the configuration that was last written. True without relays.
fn has_every_relay_confirmed(context: &RegionContext, region: &Region, objects: &RegionObjects) -> bool {
    let Some(revision) = region.status.as_ref().and_then(|status| status.config_revision.as_ref()) else {
        return false;
    };
    let reports = context.view.reports(&region.spec.domain);
    let desired = objects.replicas().map_or(0, |(count, _)| usize::try_from(count).unwrap_or(0));
    reports.len() >= desired && reports.iter().all(|report| report.revision == revision.revision)
}

fn rfc3339(time: OffsetDateTime) -> String {
    Timestamp::from_second(time.unix_timestamp()).map(|time| time.to_string()).unwrap_or_default()
}
