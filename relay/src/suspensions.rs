//! Suspensions: read whenever they may have changed, enforced at once, and only then confirmed.
//!
//! From the moment that a new set is in place, every hello, ticket and stream is checked against it. Then the sessions
//! that it hits are closed with the reason; when the last of their connections is gone, the relay confirms the set's
//! version. A session that is admitted meanwhile registers first and is checked again afterwards: either it is seen
//! here, or it sees the new set.

mod index;
mod known;
mod pace;

pub use index::Index;

use crate::{
    ops::{
        Component,
        metrics::{MetricKind, Metrics},
    },
    routing::local::{Command, Session},
    server::{
        relay::{Relay, now},
        relay_status,
    },
    session::run::close,
};
use adit_protocol::{Account, Code, Endpoint, SuspensionNotice, ToClient};
use adit_store::{Suspension, Suspensions};
use arc_swap::ArcSwap;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long a client has to go by itself once it has been told.
const GOODBYE: Duration = Duration::from_millis(150);
/// How often it is looked whether the last of the sessions has gone.
const LOOK: Duration = Duration::from_millis(2);
/// After so long without the store the peers are asked.
const CUT_OFF: Duration = Duration::from_secs(15);
/// How often they are asked from then on.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How often a relay asks that knows nothing, and lets nobody in meanwhile.
const ASK_SOON: Duration = Duration::from_secs(1);

const POISONED: &str = "no code panics while it holds this lock";

/// The suspensions that a relay goes by.
#[derive(Debug, Default)]
pub struct SuspensionSet {
    index: ArcSwap<Index>,
    /// Whether they come from anywhere at all: a relay that knows nothing lets nobody in.
    is_known: AtomicBool,
    /// The version for which nothing is left to do.
    confirmed: AtomicU64,
    /// How many sessions were closed because of each.
    closed: Mutex<HashMap<String, u64>>,
}

impl SuspensionSet {
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
    fn known(&self) -> Option<u64> {
        self.is_known().then(|| self.load().version())
    }

    /// The version that is enforced to the last session.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// How many sessions were closed in all because of each suspension in force.
    pub fn closed(&self) -> HashMap<String, u64> {
        self.closed.lock().expect(POISONED).clone()
    }

    fn count(&self, suspension: &str) {
        *self.closed.lock().expect(POISONED).entry(suspension.to_owned()).or_default() += 1;
    }

    /// These are in place from now on.
    fn put(&self, all: Suspensions, domain: &str) {
        let ids: std::collections::HashSet<&String> = all.list.iter().map(|one| &one.id).collect();
        self.closed.lock().expect(POISONED).retain(|id, _| ids.contains(id));
        self.index.store(Arc::new(Index::new(all, domain)));
        self.is_known.store(true, Ordering::Release);
    }
}

impl Relay {
    /// What keeps an account out.
    pub fn account_suspension(&self, account: &Account) -> Option<SuspensionNotice> {
        self.suspensions.load().account(account, now).map(|one| self.notice(one, &account.key()))
    }

    /// What keeps an account from serving an endpoint.
    pub fn suspension(&self, account: &Account, endpoint: &Endpoint) -> Option<SuspensionNotice> {
        let suspensions = self.suspensions.load();
        if let Some(one) = suspensions.account(account, now) {
            return Some(self.notice(one, &account.key()));
        }
        suspensions.endpoint(endpoint, now).map(|one| self.notice(one, &endpoint.to_string()))
    }

    /// Whether an account must not serve an endpoint: asked for every stream.
    pub fn is_suspended(&self, account: &Account, endpoint: &Endpoint) -> bool {
        self.suspensions.load().against(account, endpoint, now).is_some()
    }

    /// Whether nobody serves an endpoint because of a suspension.
    pub fn was_suspended(&self, endpoint: &Endpoint) -> bool {
        self.suspensions.load().gone(endpoint, now).is_some()
    }

    fn notice(&self, suspension: &Suspension, against: &str) -> SuspensionNotice {
        SuspensionNotice {
            against: against.to_owned(),
            until: suspension.until,
            reason: suspension.reason.clone(),
            complaint: suspension.complaint.clone(),
            abuse: self.config.provider.abuse.clone(),
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

/// The suspensions before the relay serves anybody: from the store, else from its own folder.
pub async fn begin(relay: &Relay) {
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
    relay.suspensions.put(read, &relay.config.domain);
    // There are no sessions yet.
    relay.suspensions.confirmed.store(version, Ordering::Release);
}

/// Asks the peers if the store was away at the start. Nobody is let in before some suspensions are known.
pub async fn ask_peers_at_start(relay: &Arc<Relay>) {
    if relay.store.ping().await.is_err()
        && let Some(newer) = relay.peers.suspensions(relay.suspensions.known()).await
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
pub async fn watch(relay: Arc<Relay>) {
    let mut changes = relay.store.changes();
    let (mut since, mut asked) = (Instant::now(), Instant::now());
    let mut from_store = false;
    loop {
        match read(&relay, from_store).await {
            Ok(new) => {
                since = Instant::now();
                from_store = true;
                relay.health.report(Component::Store, None);
                if let Some(new) = new {
                    adopt(&relay, new).await;
                }
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the store is away");
                relay.health.report(Component::Store, Some("cannot be reached".to_owned()));
                let known = relay.suspensions.known();
                let (patience, pause) =
                    if known.is_some() { (CUT_OFF, ASK_AGAIN) } else { (Duration::ZERO, ASK_SOON) };
                if since.elapsed() >= patience && asked.elapsed() >= pause {
                    asked = Instant::now();
                    if let Some(newer) = relay.peers.suspensions(known).await {
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
    relay.suspensions.put(new.clone(), &relay.config.domain);
    let told = |session: Arc<Session>| check(relay, &session).then(|| (Instant::now(), session));
    let mut hit = pace::few_at_a_time(relay.local.alive(), told, async || sleep(LOOK).await).await;
    if !hit.is_empty() {
        tracing::info!(version, sessions = hit.len(), "sessions are suspended");
    }
    loop {
        hit.retain(|(_, session)| relay.local.is_alive(&session.id));
        if hit.is_empty() {
            break;
        }
        let stays = |(told, session): &&(Instant, Arc<Session>)| {
            told.elapsed() >= GOODBYE && !session.cut.is_cancelled()
        };
        hit.iter().filter(stays).take(pace::AT_ONCE).for_each(|(_, session)| session.cut.cancel());
        sleep(LOOK).await;
    }
    relay.suspensions.confirmed.store(version, Ordering::Release);
    relay.news.notify_one();
    keep(relay, &new).await;
}

/// Closes a session that is suspended, or whose endpoints are; answers whether it is one.
pub fn check(relay: &Relay, session: &Session) -> bool {
    let suspensions = relay.suspensions.load();
    if let Some(hit) = suspensions.account(&session.account, now) {
        if session.suspend() {
            relay.suspensions.count(&hit.id);
            let notice = relay.notice(hit, &session.account.key());
            let message = in_words(&notice);
            say_last(
                session,
                vec![],
                ToClient::Close { code: Code::Suspended, message, suspension: Some(Box::new(notice)) },
            );
        }
        return true;
    }
    let mut closed = vec![];
    for endpoint in session.endpoints() {
        let Some(hit) = suspensions.endpoint(&endpoint, now) else { continue };
        let Some(served) = relay.local.endpoint(&endpoint) else { continue };
        let message = endpoint_in_words(&relay.notice(hit, &endpoint.to_string()));
        let said = ToClient::Closed { tunnel: served.tunnel.clone(), code: Code::Suspended, message };
        closed.push((hit.id.clone(), said));
    }
    if closed.is_empty() {
        return false;
    }
    if session.suspend() {
        for (id, _) in &closed {
            relay.suspensions.count(id);
        }
        // What flows through the tunnel ends with the session; the client comes back with its other tunnels.
        let words = closed.into_iter().map(|(_, said)| said).collect();
        say_last(session, words, close(Code::Draining, "one of its tunnels was suspended"));
    }
    true
}

fn say_last(session: &Session, words: Vec<ToClient>, last: ToClient) {
    session.set_closing();
    let told = words.into_iter().all(|word| session.command(Command::Tell(word)));
    if !told || !session.command(Command::Close(last)) {
        // It reads nothing.
        session.cut.cancel();
    }
}
