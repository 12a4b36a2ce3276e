//! The links that this relay opens: a few connections to each peer, some on each lane, dialled when they are needed.
//!
//! A dial goes on whoever waits for it, and requests that come meanwhile wait for the same one.

use super::{answer_cache::AnswerCache, dial, tls::PeerTls};
use crate::lock::POISONED;
use crate::{cluster::table::Table, lanes, ops::metrics::LaneMetrics};
use adit_mux::{MAX_STREAMS, OpenStreams, Opener};
use adit_protocol::{Account, RelayId};
use arc_swap::ArcSwap;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time::timeout_at};

/// Minimum number of connections to a peer.
const MIN_CONNECTIONS: usize = 4;
/// Maximum number of streams of one account on one connection, so that no tenant fills a link.
const MAX_ACCOUNT_STREAMS: usize = MAX_STREAMS / 8;
/// Time that a dial may take before another peer is tried, if there is one.
pub(crate) const FAILOVER_DIAL_TIME: Duration = Duration::from_millis(300);
/// Delay before a peer is dialled again after a failed dial.
const REDIAL_DELAY: Duration = Duration::from_millis(500);
/// Time for which a failed dial counts as news: a peer is dialled only when a request needs it.
const RECENT_FAILURE_TIME: Duration = Duration::from_secs(10);

/// Why there is no stream to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    /// This relay has no peer certificate, or the peer has not told where it listens.
    #[error("the peer cannot be reached: it has told no address, or this relay has no peer certificate")]
    NoAddress,
    /// The last dial failed a moment ago.
    #[error("the last dial failed a moment ago")]
    Resting,
    /// The dial takes longer than the caller would wait. It goes on.
    #[error("the peer has not answered yet")]
    Slow,
    /// All connections have as many streams as the account may have.
    #[error("all links are full")]
    Full,
}

/// One connection to a peer.
#[derive(Debug)]
pub(crate) struct Connection {
    lane: Option<usize>,
    opener: Opener,
    streams: AtomicUsize,
    accounts: Mutex<HashMap<Account, usize>>,
}

/// A permit for one stream of a connection, released when it is dropped.
#[derive(Debug)]
pub(crate) struct PeerStreamPermit {
    connection: Arc<Connection>,
    account: Account,
}

impl Connection {
    fn place(self: &Arc<Self>, account: &Account) -> Option<PeerStreamPermit> {
        let mut accounts = self.accounts.lock().expect(POISONED);
        let taken = accounts.get(account).copied().unwrap_or(0);
        if taken >= MAX_ACCOUNT_STREAMS || self.streams.load(Ordering::Relaxed) >= MAX_STREAMS {
            return None;
        }
        accounts.insert(account.clone(), taken + 1);
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(PeerStreamPermit { connection: self.clone(), account: account.clone() })
    }
}

impl Drop for PeerStreamPermit {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
        let mut accounts = self.connection.accounts.lock().expect(POISONED);
        if let Some(taken) = accounts.get_mut(&self.account) {
            *taken -= 1;
            if *taken == 0 {
                accounts.remove(&self.account);
            }
        }
    }
}

/// The links to one peer.
#[derive(Debug, Default)]
struct Peer {
    links: Mutex<Links>,
    /// Notified whenever a dial has ended.
    dialled: Notify,
}

#[derive(Debug, Default)]
struct Links {
    connections: Vec<Arc<Connection>>,
    /// The dials that are under way: for which lane, and since when.
    dials: Vec<(Option<usize>, Instant)>,
    /// When a dial failed last.
    failed_at: Option<Instant>,
}

/// The result of a search for a stream on the links to a peer.
enum PlaceSearch {
    Place(PeerStreamPermit),
    /// Nothing before the dial ends that has begun then; if that is too late, this is why.
    Nothing(Instant, LinkError),
}

impl Links {
    /// A place on the caller's lane. The flag says that a dial has to be made for that lane, which counts as made.
    fn find(
        &mut self,
        lane: Option<usize>,
        each: usize,
        account: &Account,
    ) -> (Result<PlaceSearch, LinkError>, bool) {
        self.connections.retain(|one| !one.opener.has_ended());
        let mine: Vec<_> = self.connections.iter().filter(|one| one.lane == lane).cloned().collect();
        let streams = |one: &&Arc<Connection>| one.streams.load(Ordering::Relaxed);
        let least = mine.iter().min_by_key(streams);
        let now = Instant::now();
        let wanted = mine.len() + self.dials_of(lane).count() < each
            && least.is_none_or(|one| streams(&one) > 0)
            && self.failed_at.is_none_or(|failed| now >= failed + REDIAL_DELAY);
        if wanted {
            self.dials.push((lane, now));
        }
        let place = least
            .and_then(|one| one.place(account))
            .or_else(|| mine.iter().find_map(|one| one.place(account)));
        let why_none = if mine.is_empty() { LinkError::Slow } else { LinkError::Full };
        let found = match (place, self.dials_of(lane).min()) {
            (Some(place), _) => Ok(PlaceSearch::Place(place)),
            (None, Some(begun)) => Ok(PlaceSearch::Nothing(begun, why_none)),
            (None, None) if mine.is_empty() => Err(LinkError::Resting),
            (None, None) => Err(LinkError::Full),
        };
        (found, wanted)
    }

    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.dials.is_empty()
    }

    /// Whether a dial failed a moment before `now`, and no connection is left.
    fn is_unreachable(&self, now: Instant) -> bool {
        self.failed_at.is_some_and(|failed| now.duration_since(failed) < RECENT_FAILURE_TIME)
            && self.connections.iter().all(|one| one.opener.has_ended())
    }

    fn end_dial(&mut self, lane: Option<usize>) {
        if let Some(place) = self.dials.iter().position(|(of, _)| *of == lane) {
            self.dials.swap_remove(place);
        }
    }

    fn dials_of(&self, lane: Option<usize>) -> impl Iterator<Item = Instant> {
        self.dials.iter().filter(move |(of, _)| *of == lane).map(|(_, begun)| *begun)
    }
}

impl Peer {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().expect(POISONED)
    }

    /// A dial for this lane has ended.
    fn dialled(&self, lane: Option<usize>, opener: Option<Opener>) {
        let mut links = self.links();
        links.end_dial(lane);
        match opener {
            Some(opener) => {
                let (streams, accounts) = (AtomicUsize::new(0), Mutex::default());
                links.connections.push(Arc::new(Connection { lane, opener, streams, accounts }));
            }
            None => links.failed_at = Some(Instant::now()),
        }
        drop(links);
        self.dialled.notify_waiters();
    }
}

/// All links that this relay opens.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) tls: Option<ArcSwap<PeerTls>>,
    pub(super) table: Arc<Table>,
    pub(super) me: RelayId,
    /// How many connections a lane has to each peer.
    each: usize,
    peers: Mutex<HashMap<RelayId, Arc<Peer>>>,
    metrics: Arc<LaneMetrics>,
    pub(super) answers: AnswerCache,
}

impl Peers {
    /// No links yet.
    pub(crate) fn new(
        tls: Option<PeerTls>,
        table: Arc<Table>,
        me: RelayId,
        lanes: usize,
        metrics: Arc<LaneMetrics>,
    ) -> Self {
        let each = MIN_CONNECTIONS.div_ceil(lanes.max(1));
        Self {
            tls: tls.map(ArcSwap::from_pointee),
            table,
            me,
            each,
            peers: Mutex::default(),
            metrics,
            answers: AnswerCache::default(),
        }
    }

    /// A place for one stream of an account on a connection to a peer, of the caller's lane. Without any it waits for one
    /// that is dialled, until the dial has taken as long as `patience`, [`dial::MAX_DIAL_TIME`] being as long as it can take.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(crate) async fn opener(
        &self,
        id: &RelayId,
        account: &Account,
        patience: Duration,
    ) -> Result<(Opener, PeerStreamPermit), LinkError> {
        let peer = self.peers.lock().expect(POISONED).entry(id.clone()).or_default().clone();
        let lane = lanes::current();
        loop {
            // It hears of every dial that ends from here on.
            let dialled = peer.dialled.notified();
            let (found, wanted) = peer.links().find(lane, self.each, account);
            let dial = if wanted { self.dial(id, &peer, lane) } else { Ok(()) };
            match found? {
                PlaceSearch::Place(place) => return Ok((place.connection.opener.clone(), place)),
                PlaceSearch::Nothing(begun, why) => {
                    dial?;
                    timeout_at((begun + patience).into(), dialled).await.map_err(|_| why)?;
                }
            }
        }
    }

    /// Dials in the background.
    fn dial(&self, id: &RelayId, peer: &Arc<Peer>, lane: Option<usize>) -> Result<(), LinkError> {
        let Some((address, tls)) = self.address(id).zip(self.tls.as_ref().map(ArcSwap::load_full)) else {
            peer.links().end_dial(lane);
            peer.dialled.notify_waiters();
            return Err(LinkError::NoAddress);
        };
        let (id, peer, metrics) = (id.clone(), peer.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let dialled = dial::dial(&address, &tls, &metrics).await;
            if let Err(error) = &dialled {
                tracing::debug!(peer = %id, error = error as &dyn std::error::Error, "peer dial failed");
            }
            peer.dialled(lane, dialled.ok());
        });
        Ok(())
    }

    fn address(&self, id: &RelayId) -> Option<String> {
        self.table.relays().iter().find(|record| record.relay == *id)?.peer.clone()
    }

    /// Uses another certificate for links that begin from now on.
    pub(crate) fn replace_tls(&self, tls: PeerTls) {
        if let Some(current) = &self.tls {
            current.store(Arc::new(tls));
        }
    }

    /// The healthy peers, this relay left out.
    pub(super) fn others(&self) -> Vec<RelayId> {
        self.table.relays().iter().map(|record| record.relay.clone()).filter(|id| *id != self.me).collect()
    }

    /// The healthy peers that this relay cannot reach, in order.
    pub(crate) fn unreachable(&self) -> Vec<RelayId> {
        let (now, peers) = (Instant::now(), self.peers.lock().expect(POISONED));
        let failed = |id: &RelayId| peers.get(id).is_some_and(|peer| peer.links().is_unreachable(now));
        let mut unreachable: Vec<RelayId> = self.others().into_iter().filter(failed).collect();
        unreachable.sort();
        unreachable
    }

    /// Forgets the links to relays that are not there any more.
    pub(crate) fn prune(&self) {
        let known = self.others();
        self.peers.lock().expect(POISONED).retain(|id, peer| known.contains(id) || !peer.links().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_unreachable_while_a_failed_dial_is_recent() {
        let now = Instant::now();
        let peer = Peer::default();
        assert!(!peer.links().is_unreachable(now));
        peer.links().dials.push((None, now));
        peer.dialled(None, None);
        assert!(peer.links().is_unreachable(Instant::now()));
        assert!(!peer.links().is_unreachable(Instant::now() + RECENT_FAILURE_TIME));
    }
}
