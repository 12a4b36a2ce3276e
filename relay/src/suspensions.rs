//! Suspensions: accounts and endpoints that are kept out.
//!
//! From the moment that a new set is in place, every hello, ticket and stream is checked against it. A session that is
//! admitted meanwhile registers first and is checked again afterwards: either whoever put the set in place sees it, or it
//! sees the new set. `server::enforcement` reads sets, closes the sessions that they hit, and confirms.

mod index;
pub(crate) mod known;

pub use index::Index;

use crate::lock::POISONED;
use crate::ops::{
    clock::now,
    metrics::{MetricKind, Metrics},
};
use adit_protocol::{Account, Endpoint, SuspensionNotice};
use adit_store::{Suspension, Suspensions};
use arc_swap::ArcSwap;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The suspensions that a relay goes by.
#[derive(Debug)]
pub struct SuspensionSet {
    /// The region's domain.
    domain: String,
    /// Whom the suspended write to.
    abuse: String,
    index: ArcSwap<Index>,
    /// Whether they come from anywhere at all: a relay that knows nothing lets nobody in.
    is_known: AtomicBool,
    /// The version for which nothing is left to do.
    confirmed: AtomicU64,
    /// How many sessions were closed because of each.
    closed: Mutex<HashMap<String, u64>>,
}

impl SuspensionSet {
    /// No suspensions are known yet.
    pub(crate) fn new(domain: &str, abuse: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            abuse: abuse.to_owned(),
            index: ArcSwap::default(),
            is_known: AtomicBool::new(false),
            confirmed: AtomicU64::new(0),
            closed: Mutex::default(),
        }
    }

    /// Shows them among the relay's metrics.
    pub fn show_in(self: &Arc<Self>, metrics: &Metrics) {
        let (shown, confirmed) = (self.clone(), self.clone());
        metrics.watch(
            "adit_suspensions",
            "Suspensions that the relay goes by",
            MetricKind::Gauge,
            move || shown.load().all().list.len() as u64,
        );
        metrics.watch(
            "adit_suspensions_version",
            "The version of the suspensions that is enforced to the last session",
            MetricKind::Gauge,
            move || confirmed.confirmed(),
        );
    }

    /// The suspensions as they are now.
    pub fn load(&self) -> arc_swap::Guard<Arc<Index>> {
        self.index.load()
    }

    /// Whether the relay knows any state of the suspensions.
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// The version that the relay goes by, if it knows any.
    pub(crate) fn known(&self) -> Option<u64> {
        self.is_known().then(|| self.load().version())
    }

    /// The version that is enforced to the last session.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Confirms that a version is enforced to the last session.
    pub(crate) fn confirm(&self, version: u64) {
        self.confirmed.store(version, Ordering::Release);
    }

    /// How many sessions were closed in all because of each suspension in force.
    pub fn closed(&self) -> HashMap<String, u64> {
        self.closed.lock().expect(POISONED).clone()
    }

    /// Counts a session that was closed because of a suspension.
    pub(crate) fn count_closed(&self, suspension: &str) {
        *self.closed.lock().expect(POISONED).entry(suspension.to_owned()).or_default() += 1;
    }

    /// These are in place from now on.
    pub(crate) fn put(&self, all: Suspensions) {
        let ids: std::collections::HashSet<&String> = all.list.iter().map(|one| &one.id).collect();
        self.closed.lock().expect(POISONED).retain(|id, _| ids.contains(id));
        self.index.store(Arc::new(Index::new(all, &self.domain)));
        self.is_known.store(true, Ordering::Release);
    }
    /// What keeps an account out.
    pub(crate) fn account_notice(&self, account: &Account) -> Option<SuspensionNotice> {
        self.load().account(account, now).map(|one| self.notice(one, &account.key()))
    }

    /// What keeps an account from serving an endpoint.
    pub(crate) fn tunnel_notice(&self, account: &Account, endpoint: &Endpoint) -> Option<SuspensionNotice> {
        let suspensions = self.load();
        if let Some(one) = suspensions.account(account, now) {
            return Some(self.notice(one, &account.key()));
        }
        suspensions.endpoint(endpoint, now).map(|one| self.notice(one, &endpoint.to_string()))
    }

    /// Whether an account must not serve an endpoint: asked for every stream.
    pub fn is_suspended(&self, account: &Account, endpoint: &Endpoint) -> bool {
        self.load().against(account, endpoint, now).is_some()
    }

    /// Whether nobody serves an endpoint because of a suspension.
    pub fn was_suspended(&self, endpoint: &Endpoint) -> bool {
        self.load().gone(endpoint, now).is_some()
    }

    /// The notice of a suspension against this account or endpoint.
    pub(crate) fn notice(&self, suspension: &Suspension, against: &str) -> SuspensionNotice {
        SuspensionNotice {
            against: against.to_owned(),
            until: suspension.until,
            reason: suspension.reason.clone(),
            complaint: suspension.complaint.clone(),
            abuse: self.abuse.clone(),
        }
    }
}

/// A notice in one line, for clients that know no better.
pub fn in_words(notice: &SuspensionNotice) -> String {
    let complaint = notice.complaint.as_ref().map_or(String::new(), |id| format!(", complaint {id}"));
    format!("{}{complaint}", notice.reason)
}

/// The same about an endpoint, with whom to write to.
pub fn endpoint_in_words(notice: &SuspensionNotice) -> String {
    let abuse = Some(&notice.abuse).filter(|abuse| !abuse.is_empty());
    let next = abuse.map_or(String::new(), |abuse| format!("; write to {abuse} and name the complaint"));
    format!("{} is suspended: {}{next}", notice.against, in_words(notice))
}
