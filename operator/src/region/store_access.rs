//! What the store has to know of a region before its relays can use it.

use super::{context::RegionContext, key_material::KeyMaterial, observe::RegionObjects};
use crate::error_chain::error_chain;
use adit_api::Region;
use adit_store::StoreUrl;
use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

/// Writes the region's public key to the store; certificates' private keys are sealed to it. The next reconciliation
/// retries after a failure.
pub(super) async fn publish_sealing_key(context: &RegionContext, region: &Region, material: &KeyMaterial) {
    let (Some(store), Some(public_key)) = (&context.store, material.sealing_key()) else { return };
    if let Err(error) = store.put_region(&region.spec.domain, &public_key).await {
        let domain = &region.spec.domain;
        tracing::warn!(
            domain,
            error = error_chain(&error),
            "cannot write the region's public key to the store"
        );
    }
}

/// Grants the relays' database role the rights that relays need, once per process and role. After a failure the relays
/// are not ready, and the next reconciliation retries.
pub(super) async fn grant_role(context: &RegionContext, objects: &RegionObjects) {
    let (Some(store), Some(url)) = (&context.store, &objects.store_url) else { return };
    let Some(role) = url.parse::<StoreUrl>().ok().and_then(|url| url.role()) else { return };
    if lock(&context.granted_roles).contains(&role) {
        return;
    }
    match store.grant_relay(&role).await {
        Ok(()) => {
            lock(&context.granted_roles).insert(role);
        }
        Err(error) => {
            tracing::warn!(
                role,
                error = error_chain(&error),
                "cannot grant rights to the relays' database role"
            );
        }
    }
}

fn lock(roles: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    roles.lock().expect("no code panics while it holds this lock")
}
