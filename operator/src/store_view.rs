//! What relays say of themselves in the store, read for all regions at once.

use crate::region::status::{Report, State};
use adit_store::{RelaySeen, Store};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often the store is read, beside its wake-ups.
const EVERY: Duration = Duration::from_secs(5);
/// A relay that has said nothing for so long is gone.
const GONE_SECONDS: u64 = 30;
const POISONED: &str = "no code panics while it holds this lock";

/// What is known of the store and of what relays have said there.
#[derive(Debug, Default)]
pub struct StoreView {
    state: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    state: State,
    is_migrated: bool,
    by_region: BTreeMap<String, BTreeMap<String, Report>>,
}

impl StoreView {
    /// Whether the store answers.
    pub fn state(&self) -> State {
        self.state.read().expect(POISONED).state.clone()
    }

    /// Whether its tables are there.
    pub fn is_migrated(&self) -> bool {
        self.state.read().expect(POISONED).is_migrated
    }

    /// What the relays of a region have said not long ago.
    pub fn reports(&self, domain: &str) -> Vec<Report> {
        let known = self.state.read().expect(POISONED);
        known.by_region.get(domain).map(|reports| reports.values().cloned().collect()).unwrap_or_default()
    }

    /// Notes what was read; returns the domains of regions of which something has changed.
    pub fn note(&self, relays: &[RelaySeen], now: u64) -> HashSet<String> {
        let mut by_region: BTreeMap<String, BTreeMap<String, Report>> = BTreeMap::new();
        for relay in relays.iter().filter(|relay| now.saturating_sub(relay.seen) < GONE_SECONDS) {
            by_region.entry(relay.region.clone()).or_default().insert(relay.relay.to_string(), report(relay));
        }
        let mut known = self.state.write().expect(POISONED);
        let mut changed = HashSet::new();
        let domains: HashSet<&String> = known.by_region.keys().chain(by_region.keys()).collect();
        for domain in domains {
            if known.by_region.get(domain) != by_region.get(domain) {
                changed.insert(domain.clone());
            }
        }
        known.by_region = by_region;
        known.state = State::Good;
        changed
    }

    /// Notes that the store cannot be used. What relays said before stays: they go on.
    pub fn note_failure(&self, reason: &'static str, message: String) -> bool {
        let mut known = self.state.write().expect(POISONED);
        let bad = State::Bad { reason, message };
        let is_news = known.state != bad;
        known.state = bad;
        is_news
    }

    fn note_migrated(&self) {
        self.state.write().expect(POISONED).is_migrated = true;
    }
}

fn report(relay: &RelaySeen) -> Report {
    Report {
        revision: relay.config_revision.clone(),
        draining: relay.draining,
        sessions: relay.sessions,
        tunnels: relay.tunnels,
        registry_up: relay.registry_up,
        refused: relay.config_refused.clone(),
        served: relay.served.clone(),
        certificate_problem: relay.certificate_problem.clone(),
    }
}

/// Which regions have to be looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// All of them.
    All,
    /// The one with this domain.
    Domain(String),
}

/// Migrates the store, then reads it until `stop`; each change wakes the regions that it is about.
pub async fn watch(store: Store, view: Arc<StoreView>, wake: mpsc::Sender<Wake>, stop: CancellationToken) {
    let work = async {
        migrate(&store, &view, &wake).await;
        let mut changes = store.changes();
        loop {
            read(&store, &view, &wake).await;
            let _ = tokio::time::timeout(EVERY, changes.next()).await;
        }
    };
    tokio::select! { () = work => {}, () = stop.cancelled() => {} }
}

/// Tries until the tables are there; how it stands is seen in the Regions' conditions.
async fn migrate(store: &Store, view: &StoreView, wake: &mpsc::Sender<Wake>) {
    let mut pause = Duration::from_secs(1);
    loop {
        match store.migrate().await {
            Ok(()) => {
                tracing::info!("the store's schema is up to date");
                view.note_migrated();
                let _ = wake.send(Wake::All).await;
                return;
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store cannot be migrated");
                if view.note_failure("NotMigrated", words(&error)) {
                    let _ = wake.send(Wake::All).await;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(15));
    }
}

async fn read(store: &Store, view: &StoreView, wake: &mpsc::Sender<Wake>) {
    match store.relays_seen().await {
        Ok(relays) => {
            let was_good = view.state() == State::Good;
            let changed = view.note(&relays, seconds());
            if !was_good {
                let _ = wake.send(Wake::All).await;
                return;
            }
            for domain in changed {
                let _ = wake.send(Wake::Domain(domain)).await;
            }
        }
        Err(error) => {
            let message = format!("{}; traffic goes on, new names are refused", words(&error));
            if view.note_failure("ConnectFailed", message) {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store is away");
                let _ = wake.send(Wake::All).await;
            }
        }
    }
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An error and its causes in one line.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(region: &str, relay: &str, at: u64) -> RelaySeen {
        RelaySeen {
            region: region.to_owned(),
            relay: relay.parse().unwrap(),
            started: 0,
            seen: at,
            suspensions_version: 0,
            config_revision: "r".to_owned(),
            config_refused: None,
            draining: false,
            sessions: 1,
            tunnels: 1,
            registry_up: true,
            challenges_version: 0,
            served: vec![],
            certificate_problem: None,
        }
    }

    #[test]
    fn only_regions_of_which_something_has_changed_are_woken() {
        let view = StoreView::default();
        let both = [seen("eu.example.com", "a", 100), seen("us.example.com", "b", 100)];
        assert_eq!(view.note(&both, 100).len(), 2);
        assert_eq!(view.note(&both, 110).len(), 0, "another time is no news");
        let changed = [RelaySeen { sessions: 2, ..both[0].clone() }, both[1].clone()];
        assert_eq!(view.note(&changed, 110), HashSet::from(["eu.example.com".to_owned()]));
        assert_eq!(view.note(&both[..1], 120).len(), 2, "one has changed, the other is gone");
        assert_eq!(
            view.note(&both[..1], 131),
            HashSet::from(["eu.example.com".to_owned()]),
            "silent for too long"
        );
        assert!(view.reports("eu.example.com").is_empty());
    }

    #[test]
    fn what_relays_said_outlives_the_store() {
        let view = StoreView::default();
        view.note(&[seen("eu.example.com", "a", 100)], 100);
        assert!(view.note_failure("ConnectFailed", "refused".to_owned()));
        assert!(!view.note_failure("ConnectFailed", "refused".to_owned()), "no news");
        assert_eq!(view.reports("eu.example.com").len(), 1);
        assert!(matches!(view.state(), State::Bad { .. }));
        assert!(!view.is_migrated());
    }
}
