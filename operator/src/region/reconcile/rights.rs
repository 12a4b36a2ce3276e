//! What the store has to know of a region before its relays can use it.

use super::{
    super::{material::Material, observe::Seen},
    Context,
};
use crate::store_view::words;
use adit_api::Region;
use adit_store::StoreUrl;

const POISONED: &str = "no code panics while it holds this lock";

/// Says what the keys of certificates are sealed to for this region: its relays have the other half. A failure shows in
/// the store's condition, and the next look tries again.
pub(super) async fn put_sealing_key(region: &Region, material: &Material, context: &Context) {
    let Some(store) = &context.store else { return };
    let Some(public) = material.sealing_key() else { return };
    if let Err(error) = store.put_region(&region.spec.domain, &public).await {
        tracing::warn!(error = words(&error), "the region's public key is not in the store");
    }
}

/// Gives the relays' role its rights, once in this process's life. A failure shows in the relays' readiness.
pub(super) async fn grant(seen: &Seen, context: &Context) {
    let (Some(store), Some(url)) = (&context.store, &seen.store_url) else { return };
    let Some(role) = url.parse::<StoreUrl>().ok().and_then(|url| url.role()) else { return };
    if context.granted.lock().expect(POISONED).contains(&role) {
        return;
    }
    match store.grant_relay(&role).await {
        Ok(()) => {
            context.granted.lock().expect(POISONED).insert(role);
        }
        Err(error) => {
            tracing::warn!(
                role,
                error = &error as &dyn std::error::Error,
                "the relays' role was given no rights"
            );
        }
    }
}
