//! The service loop: health, registration, leases.
//!
//! Each part re-reads all that it needs whenever it runs, so that a wake-up that is lost is a delay and nothing more.

use super::relay::Relay;
use crate::{
    cluster::table::RelayRecord,
    ops::{Component, clock::now},
    routing::Routing,
};
use adit_store::{Pruned, Store};
use std::{
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How often the relay says that it is alive; its record lives three times as long.
const BEAT: Duration = Duration::from_secs(2);
/// How often while the registry is away: its peers miss a relay that has just started, or that Redis has just forgotten.
const AWAY: Duration = Duration::from_millis(250);
/// A lane that has been silent for so long is stuck: the relay is not healthy.
const STUCK: Duration = Duration::from_secs(4);
/// After so many unhealthy beats the process ends, so that it is started anew.
const UNHEALTHY_BEATS: u32 = 5;
/// How often leases are extended; they last five times as long.
const EXTEND: Duration = Duration::from_secs(60);
/// How often what has ended is taken out of the store: every 4 to 6 minutes, so that the relays of a region that were
/// started together do not come together. It is the same whoever does it.
const PRUNE: RangeInclusive<Duration> = Duration::from_secs(240)..=Duration::from_secs(360);

/// The relay is stuck and has to be started anew.
#[derive(Debug, thiserror::Error)]
#[error("a lane has not answered for {} s", STUCK.as_secs())]
pub struct Unhealthy;

/// Beats until the relay has left, or is not healthy any more.
///
/// # Errors
/// [`Unhealthy`].
pub(super) async fn beat(relay: Arc<Relay>) -> Result<(), Unhealthy> {
    let mut unhealthy = 0;
    loop {
        sleep(if unhealthy > 0 || relay.routing.registry_is_up() { BEAT } else { AWAY }).await;
        if relay.lifecycle.closing.is_cancelled() {
            return Ok(());
        }
        if relay.frontend.sessions.lanes.iter().any(|lane| lane.time_since_heartbeat() > STUCK) {
            unhealthy += 1;
            relay.telemetry.health.report(Component::Lanes, Some(Unhealthy.to_string()));
            if unhealthy >= UNHEALTHY_BEATS {
                return Err(Unhealthy);
            }
            continue;
        }
        unhealthy = 0;
        relay.telemetry.health.report(Component::Lanes, None);
        beat_once(&relay).await;
        relay.routing.peers.prune();
        relay.telemetry.health.report(Component::Peers, unreachable_peers(&relay));
        relay.accounts.forget_idle(Instant::now());
    }
}

fn unreachable_peers(relay: &Relay) -> Option<String> {
    let peers: Vec<String> = relay.routing.peers.unreachable().iter().map(ToString::to_string).collect();
    (!peers.is_empty()).then(|| format!("cannot reach {}", peers.join(", ")))
}

/// Extends the relay's record and announces what its sessions serve.
pub(super) async fn beat_once(relay: &Relay) {
    let endpoints = relay.routing.local.endpoints();
    let claims: Vec<_> = endpoints
        .iter()
        .flat_map(|served| {
            served.sessions.iter().map(|session| served.claim(&session.id, &relay.routing.relay))
        })
        .collect();
    let result = timeout(BEAT, relay.routing.registry.beat(&record(relay), &claims)).await;
    let up = match result {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "registry heartbeat failed");
            false
        }
        Err(_) => false,
    };
    relay.routing.set_registry_up(up);
}

/// What peers know of this relay.
fn record(relay: &Relay) -> RelayRecord {
    let sessions = relay.routing.local.sessions();
    let streams: usize = sessions.iter().map(|session| session.streams()).sum();
    RelayRecord {
        relay: relay.routing.relay.clone(),
        peer: relay.config.peer.as_ref().map(|peer| peer.advertise.clone()),
        sessions: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
        streams: u32::try_from(streams).unwrap_or(u32::MAX),
        draining: relay.lifecycle.draining.is_cancelled(),
    }
}

/// Sessions whose endpoint has a newer owner elsewhere in the region are ended.
pub(super) async fn watch_owners(routing: Arc<Routing>) {
    let mut changed = routing.registry.table().changed();
    while changed.changed().await.is_ok() {
        for served in routing.local.endpoints() {
            let Some(row) = routing.row(&served.endpoint) else { continue };
            for session in &served.sessions {
                if row.supersedes(&served.claim(&session.id, &routing.relay)) {
                    session.close_as_replaced(&served.endpoint);
                    routing.local.stop_serving(&served.endpoint, &session.id);
                }
            }
        }
    }
}

/// Extends the leases of what is served here.
pub(super) async fn extend_leases(routing: Arc<Routing>, store: Store) {
    let mut ticks = interval(EXTEND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let leases: Vec<_> = routing.local.endpoints().iter().map(|served| served.lease()).collect();
        if leases.is_empty() {
            continue;
        }
        if let Err(error) = store.extend(&routing.domain, &leases, now()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot extend leases");
        }
    }
}

/// Takes out of the store what has ended, again at once while there is more than one call takes.
pub(super) async fn prune_store(store: Store) {
    loop {
        sleep(rand::random_range(PRUNE)).await;
        prune_now(&store, now()).await;
    }
}

async fn prune_now(store: &Store, now: u64) {
    loop {
        match store.prune(now).await {
            Ok(pruned) => {
                if pruned != Pruned::default() {
                    tracing::debug!(?pruned, "pruned the store");
                }
                if !pruned.is_full() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "cannot prune the store");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::Account;
    use adit_store::BoundCredential;

    #[tokio::test]
    async fn pruning_goes_on_until_nothing_that_has_ended_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("adit.db").display());
        let store = Store::open(&url.parse().unwrap()).unwrap();
        store.migrate().await.unwrap();
        for n in 0..2_500 {
            let credential = BoundCredential {
                id: format!("c-{n}"),
                account: Account::managed("ada"),
                key: "key".to_owned(),
                expires: 1_000,
            };
            store.bind_credential(&credential, 0).await.unwrap();
        }
        prune_now(&store, 1_000 + 2 * 86_400).await;
        assert!(!store.revoke_credential("c-0", 0).await.unwrap());
        assert_eq!(store.prune(u64::MAX).await.unwrap(), Pruned::default());
    }
}
