//! What a relay says of itself in the store, for who runs it: which configuration it uses, how much it serves.

use super::relay::Relay;
use crate::{config::RegistryUrl, ops::clock::now};
use adit_store::RelayStatus;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How often it says so, beside news.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// After how long it is said again when the store did not hear it.
const AGAIN: Duration = Duration::from_secs(1);

/// Says so until the relay ends. A store that is away is tried again.
pub(super) async fn watch(relay: Arc<Relay>) {
    let started = now();
    forget_predecessors(&relay).await;
    let mut told: HashMap<String, u64> = HashMap::new();
    loop {
        if relay.lifecycle.closing.is_cancelled() {
            return;
        }
        // The version first: what was closed for it is counted by then.
        let seen = seen(&relay, started);
        let closed = relay.suspensions.closed();
        let news = closed.iter().filter(|(id, count)| told.get(*id) != Some(*count));
        let news: Vec<(String, u64)> = news.map(|(id, count)| (id.clone(), *count)).collect();
        let wait = match relay.store.confirm(&seen, &news).await {
            Ok(()) => {
                told = closed;
                REPORT_INTERVAL
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "cannot write this relay's row; retrying"
                );
                AGAIN
            }
        };
        let _ = timeout(wait, relay.status.news.notified()).await;
    }
}

/// Says that the relay is there, before it reads what it has to enforce: whoever waits for all relays waits for this one, too.
pub(super) async fn announce(relay: &Relay) {
    if let Err(error) = relay.store.relay_seen(&seen(relay, now())).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "cannot write this relay's row; retrying");
    }
}

/// A relay that is alone in its region is not there twice: those of earlier processes are gone, however they ended.
async fn forget_predecessors(relay: &Relay) {
    if !matches!(relay.config.registry, RegistryUrl::Memory) {
        return;
    }
    let Ok(all) = relay.store.relays_seen().await else { return };
    for other in
        all.iter().filter(|one| one.region == relay.config.domain && one.relay != relay.routing.relay)
    {
        if let Err(error) = relay.store.relay_gone(&other.region, &other.relay).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot remove the row of an earlier relay"
            );
        }
    }
}

fn seen(relay: &Relay, started: u64) -> RelayStatus {
    let revision = relay.status.revision().clone();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    RelayStatus {
        region: relay.config.domain.clone(),
        relay: relay.routing.relay.clone(),
        started,
        seen: now(),
        suspensions_version: relay.suspensions.confirmed(),
        config_revision: revision.used,
        config_refused: revision.refused,
        draining: relay.lifecycle.draining.is_cancelled(),
        sessions: count(relay.routing.local.session_count()),
        tunnels: count(relay.routing.local.endpoints().len()),
        registry_up: relay.routing.registry_is_up(),
        challenges_version: relay.certificates.challenges.version(),
        served: relay.certificates.served.fingerprints(),
        certificate_problem: relay.certificates.served.problem(),
    }
}
