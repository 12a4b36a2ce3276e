//! What a relay says of itself in the store, for who runs it: which configuration it uses, how much it serves.

use crate::relay::{Relay, now};
use adit_store::RelaySeen;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How often it says so, beside news.
const EVERY: Duration = Duration::from_secs(10);

const POISONED: &str = "no code panics while it holds this lock";

/// Says so until the relay ends. A store that is away is tried again the next time.
pub async fn watch(relay: Arc<Relay>) {
    let started = now();
    loop {
        if relay.closing.is_cancelled() {
            return;
        }
        if let Err(error) = relay.store.relay_seen(&seen(&relay, started)).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the store was not told of this relay");
        }
        let _ = timeout(EVERY, relay.news.notified()).await;
    }
}

fn seen(relay: &Relay, started: u64) -> RelaySeen {
    let revision = relay.revision.lock().expect(POISONED).clone();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    RelaySeen {
        region: relay.config.domain.clone(),
        relay: relay.id.clone(),
        started,
        seen: now(),
        suspensions_version: relay.suspensions.load().version,
        config_revision: revision.used,
        config_refused: revision.refused,
        draining: relay.draining.is_cancelled(),
        sessions: count(relay.local.session_count()),
        tunnels: count(relay.local.endpoints().len()),
        registry_up: relay.registry_is_up(),
    }
}
