//! Suspensions are read whenever they may have changed, enforced at once, and only then confirmed.
//!
//! The sessions that a new set hits are closed with the reason; when the last of their connections is gone, the relay
//! confirms the set's version.

use super::{relay::Relay, relay_status};
use crate::{
    cluster::peer,
    ops::{Component, clock::now},
    routing::local::Session,
    session::suspend::close_if_suspended,
    suspensions::known,
};
use adit_store::Suspensions;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long a client has to go by itself once it has been told.
const GOODBYE: Duration = Duration::from_millis(150);
/// How often it is looked whether the last of the sessions has gone.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// After so long without the store the peers are asked.
const CUT_OFF: Duration = Duration::from_secs(15);
/// How often they are asked from then on.
const PEER_QUERY_INTERVAL: Duration = Duration::from_secs(10);
/// How often a relay asks that knows nothing, and lets nobody in meanwhile.
const UNKNOWN_QUERY_INTERVAL: Duration = Duration::from_secs(1);
/// The most sessions that are closed in one go. What closing one costs falls on its lane, where it would delay the requests
/// of everybody else. Nothing is lost by the pauses: the suspended are refused every stream once the set is in place.
const MAX_CLOSED_AT_ONCE: usize = 16;

/// The suspensions before the relay serves anybody: from the store, else from its own folder.
pub(super) async fn begin(relay: &Relay) {
    relay_status::announce(relay).await;
    let read = match relay.store.suspensions(now()).await {
        Ok(read) => {
            keep(relay, &read).await;
            Some(read)
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store is away: the last known suspensions hold"
            );
            let folder = relay.config.data_dir.clone();
            tokio::task::spawn_blocking(move || known::last(&folder)).await.ok().flatten()
        }
    };
    let Some(read) = read else { return };
    let version = read.version;
    relay.suspensions.put(read);
    // There are no sessions yet.
    relay.suspensions.confirm(version);
}

/// Asks the peers if the store was away at the start. Nobody is let in before some suspensions are known.
pub(super) async fn ask_peers_at_start(relay: &Arc<Relay>) {
    if relay.store.ping().await.is_err()
        && let Some(newer) = peer::suspensions::ask(&relay.routing.peers, relay.suspensions.known()).await
    {
        adopt(relay, newer).await;
    }
}

async fn keep(relay: &Relay, all: &Suspensions) {
    let (folder, all) = (relay.config.data_dir.clone(), all.clone());
    let kept = tokio::task::spawn_blocking(move || known::keep(&folder, &all)).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!(%error, "the suspensions cannot be kept in dataDir");
    }
}

/// Reads suspensions whenever the store may have changed, and enforces them. A relay that is cut off from the store asks
/// its peers.
pub(super) async fn watch(relay: Arc<Relay>) {
    let mut changes = relay.store.changes();
    let (mut since, mut asked) = (Instant::now(), Instant::now());
    let mut from_store = false;
    loop {
        match read(&relay, from_store).await {
            Ok(new) => {
                since = Instant::now();
                from_store = true;
                relay.telemetry.health.report(Component::Store, None);
                if let Some(new) = new {
                    adopt(&relay, new).await;
                }
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the store is away");
                relay.telemetry.health.report(Component::Store, Some("cannot be reached".to_owned()));
                let known = relay.suspensions.known();
                let (patience, pause) = if known.is_some() {
                    (CUT_OFF, PEER_QUERY_INTERVAL)
                } else {
                    (Duration::ZERO, UNKNOWN_QUERY_INTERVAL)
                };
                if since.elapsed() >= patience && asked.elapsed() >= pause {
                    asked = Instant::now();
                    if let Some(newer) = peer::suspensions::ask(&relay.routing.peers, known).await {
                        tracing::info!(version = newer.version, "suspensions from a peer");
                        adopt(&relay, newer).await;
                    }
                }
            }
        }
        changes.next().await;
    }
}

/// What is new in the store. A version that differs is new, also a lesser one: the store may have been restored.
async fn read(relay: &Relay, from_store: bool) -> Result<Option<Suspensions>, adit_store::StoreError> {
    if from_store && relay.store.suspensions_version().await? == relay.suspensions.load().version() {
        return Ok(None);
    }
    relay.store.suspensions(now()).await.map(Some)
}

/// Puts suspensions in force, closes what they hit, and confirms.
async fn adopt(relay: &Arc<Relay>, new: Suspensions) {
    let version = new.version;
    relay.suspensions.put(new.clone());
    let told = |session: Arc<Session>| {
        close_if_suspended(&relay.suspensions, &relay.routing.local, &session)
            .then(|| (Instant::now(), session))
    };
    let mut hit = few_at_a_time(relay.routing.local.alive(), told, async || sleep(POLL_INTERVAL).await).await;
    if !hit.is_empty() {
        tracing::info!(version, sessions = hit.len(), "sessions are suspended");
    }
    loop {
        hit.retain(|(_, session)| relay.routing.local.is_alive(&session.id));
        if hit.is_empty() {
            break;
        }
        let stays = |(told, session): &&(Instant, Arc<Session>)| {
            told.elapsed() >= GOODBYE && !session.cut.is_cancelled()
        };
        hit.iter().filter(stays).take(MAX_CLOSED_AT_ONCE).for_each(|(_, session)| session.cut.cancel());
        sleep(POLL_INTERVAL).await;
    }
    relay.suspensions.confirm(version);
    relay.status.news.notify_one();
    keep(relay, &new).await;
}

/// Calls `act` on each item in order, awaiting `pause` after every [`MAX_CLOSED_AT_ONCE`] hits; returns the hits.
async fn few_at_a_time<T, R>(
    all: Vec<T>,
    mut act: impl FnMut(T) -> Option<R>,
    mut pause: impl AsyncFnMut(),
) -> Vec<R> {
    let mut done = Vec::new();
    for one in all {
        let Some(result) = act(one) else { continue };
        done.push(result);
        if done.len().is_multiple_of(MAX_CLOSED_AT_ONCE) {
            pause().await;
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn all_are_done_in_order_with_pauses_between_batches() {
        let turns = RefCell::new(vec![vec![]]);
        // Every third is hit: the others cost nothing and need no pause.
        let act = |one: usize| {
            let is_hit = one.is_multiple_of(3);
            if is_hit {
                turns.borrow_mut().last_mut().unwrap().push(one);
            }
            is_hit.then_some(one)
        };
        let done = few_at_a_time((0..300).collect(), act, async || turns.borrow_mut().push(vec![])).await;
        let turns = turns.into_inner();
        assert_eq!(turns.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 16, 16, 16, 16, 4]);
        assert_eq!(turns.concat(), done);
        assert_eq!(done, (0..300).step_by(3).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn where_nothing_is_hit_nothing_is_waited_for() {
        let done = few_at_a_time(vec![1; 1_000], |_| None::<()>, async || panic!("there is no reason")).await;
        assert!(done.is_empty());
    }
}
