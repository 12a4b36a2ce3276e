//! The operator's copy of what relays report in the store, read for all regions at once.

use crate::{clock::unix_seconds, error_chain::error_chain};
use adit_store::{RelayStatus, Store};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Interval between reads of the store when no notification comes.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// Age in seconds at which a relay's report counts no longer.
const MAX_REPORT_AGE_SECONDS: u64 = 30;
/// First delay between attempts to migrate the store; it doubles up to [`MAX_MIGRATE_DELAY`].
const MIN_MIGRATE_DELAY: Duration = Duration::from_secs(1);
/// Maximum delay between attempts to migrate the store.
const MAX_MIGRATE_DELAY: Duration = Duration::from_secs(15);

/// Whether a back end can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reachability {
    /// It can be used.
    Reachable,
    /// It cannot be used.
    Unreachable {
        /// One word in CamelCase.
        reason: &'static str,
        /// What is wrong, and what to do.
        message: String,
    },
    /// It has not been tried yet.
    #[default]
    Unknown,
}

/// A relay's last report about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RelayReport {
    /// The revision of the configuration that it uses.
    pub(crate) revision: String,
    /// Whether it is draining.
    pub(crate) is_draining: bool,
    /// Number of its sessions.
    pub(crate) sessions: u32,
    /// Number of tunnels on its sessions.
    pub(crate) tunnels: u32,
    /// Whether it reaches the registry.
    pub(crate) is_registry_up: bool,
    /// Why it refused a newer configuration.
    pub(crate) refused: Option<String>,
    /// Fingerprints of the store's certificates that it serves.
    pub(crate) served: Vec<String>,
    /// Why it refused a certificate.
    pub(crate) certificate_problem: Option<String>,
}

impl From<&RelayStatus> for RelayReport {
    fn from(relay: &RelayStatus) -> Self {
        Self {
            revision: relay.config_revision.clone(),
            is_draining: relay.draining,
            sessions: relay.sessions,
            tunnels: relay.tunnels,
            is_registry_up: relay.registry_up,
            refused: relay.config_refused.clone(),
            served: relay.served.clone(),
            certificate_problem: relay.certificate_problem.clone(),
        }
    }
}

/// The state of the store, and the relays' reports.
#[derive(Debug, Default)]
pub(crate) struct StoreView {
    content: RwLock<Content>,
}

#[derive(Debug, Default)]
struct Content {
    reachability: Reachability,
    is_migrated: bool,
    /// Reports by the region's domain and the relay's id.
    reports: BTreeMap<String, BTreeMap<String, RelayReport>>,
}

impl StoreView {
    /// Whether the store answers.
    pub(crate) fn reachability(&self) -> Reachability {
        self.read().reachability.clone()
    }

    /// Whether the store has its tables.
    pub(crate) fn is_migrated(&self) -> bool {
        self.read().is_migrated
    }

    /// Recent reports of a region's relays.
    pub(crate) fn reports(&self, domain: &str) -> Vec<RelayReport> {
        self.read().reports.get(domain).map(|reports| reports.values().cloned().collect()).unwrap_or_default()
    }

    /// Records what was read at `now`. Returns the domains of the regions whose reports have changed.
    pub(crate) fn record(&self, relays: &[RelayStatus], now: u64) -> HashSet<String> {
        let mut reports: BTreeMap<String, BTreeMap<String, RelayReport>> = BTreeMap::new();
        for relay in relays.iter().filter(|relay| now.saturating_sub(relay.seen) < MAX_REPORT_AGE_SECONDS) {
            reports.entry(relay.region.clone()).or_default().insert(relay.relay.to_string(), relay.into());
        }
        let mut content = self.write();
        let domains: HashSet<&String> = content.reports.keys().chain(reports.keys()).collect();
        let has_changed = |domain: &&String| content.reports.get(*domain) != reports.get(*domain);
        let changed = domains.into_iter().filter(has_changed).cloned().collect();
        content.reports = reports;
        content.reachability = Reachability::Reachable;
        changed
    }

    /// Records that the store cannot be used. The relays' reports stay, as the relays work on. Returns whether the state
    /// has changed.
    pub(crate) fn record_failure(&self, reason: &'static str, message: String) -> bool {
        let failed = Reachability::Unreachable { reason, message };
        let mut content = self.write();
        let before = std::mem::replace(&mut content.reachability, failed);
        before != content.reachability
    }

    fn record_migrated(&self) {
        self.write().is_migrated = true;
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().expect("no code panics while it holds this lock")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().expect("no code panics while it holds this lock")
    }
}

/// Which Regions have to be reconciled again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// All Regions.
    All,
    /// The Region with this domain.
    Domain(String),
}

/// Migrates the store, then reads it until `stop`. Sends the Regions that each change concerns to `wake`.
pub(crate) async fn watch(
    store: Store,
    view: Arc<StoreView>,
    wake: mpsc::Sender<Wake>,
    stop: CancellationToken,
) {
    let work = async {
        migrate(&store, &view, &wake).await;
        let mut changes = store.changes();
        loop {
            read(&store, &view, &wake).await;
            let _ = tokio::time::timeout(READ_INTERVAL, changes.next()).await;
        }
    };
    tokio::select! { () = work => {}, () = stop.cancelled() => {} }
}

/// Migrates the store, until that succeeds. The Regions' conditions show failures.
async fn migrate(store: &Store, view: &StoreView, wake: &mpsc::Sender<Wake>) {
    let mut delay = MIN_MIGRATE_DELAY;
    loop {
        match store.migrate().await {
            Ok(()) => {
                tracing::info!("store schema is up to date");
                view.record_migrated();
                let _ = wake.send(Wake::All).await;
                return;
            }
            Err(error) => {
                tracing::warn!(error = error_chain(&error), ?delay, "store migration failed; retrying");
                if view.record_failure("NotMigrated", error_chain(&error)) {
                    let _ = wake.send(Wake::All).await;
                }
            }
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(MAX_MIGRATE_DELAY);
    }
}

async fn read(store: &Store, view: &StoreView, wake: &mpsc::Sender<Wake>) {
    match store.relays_seen().await {
        Ok(relays) => {
            let was_reachable = view.reachability() == Reachability::Reachable;
            let changed = view.record(&relays, unix_seconds());
            if !was_reachable {
                let _ = wake.send(Wake::All).await;
                return;
            }
            for domain in changed {
                let _ = wake.send(Wake::Domain(domain)).await;
            }
        }
        Err(error) => {
            let message = format!("{}; open tunnels work on, new names are refused", error_chain(&error));
            if view.record_failure("ConnectFailed", message) {
                tracing::warn!(error = error_chain(&error), "store is unavailable");
                let _ = wake.send(Wake::All).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(region: &str, relay: &str, at: u64) -> RelayStatus {
        RelayStatus {
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
    fn only_regions_with_changed_reports_are_woken() {
        let view = StoreView::default();
        let both = [seen("eu.example.com", "a", 100), seen("us.example.com", "b", 100)];
        assert_eq!(view.record(&both, 100).len(), 2);
        assert_eq!(view.record(&both, 110).len(), 0, "a later report without changes");
        let changed = [RelayStatus { sessions: 2, ..both[0].clone() }, both[1].clone()];
        assert_eq!(view.record(&changed, 110), HashSet::from(["eu.example.com".to_owned()]));
        assert_eq!(view.record(&both[..1], 120).len(), 2, "one has changed, the other is gone");
        assert_eq!(
            view.record(&both[..1], 131),
            HashSet::from(["eu.example.com".to_owned()]),
            "silent for too long"
        );
        assert!(view.reports("eu.example.com").is_empty());
    }

    #[test]
    fn reports_outlive_an_outage_of_the_store() {
        let view = StoreView::default();
        view.record(&[seen("eu.example.com", "a", 100)], 100);
        assert!(view.record_failure("ConnectFailed", "refused".to_owned()));
        assert!(!view.record_failure("ConnectFailed", "refused".to_owned()), "the same failure");
        assert_eq!(view.reports("eu.example.com").len(), 1);
        assert!(matches!(view.reachability(), Reachability::Unreachable { .. }));
        assert!(!view.is_migrated());
    }
}
