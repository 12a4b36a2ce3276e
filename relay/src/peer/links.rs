//! The links that this relay opens: a few connections to each peer, some on each lane, dialled when they are needed.

use super::tls::PeerTls;
use crate::{
    lanes,
    metrics::{Count, LaneMetrics},
    table::Table,
};
use adit_mux::{MAX_STREAMS, Opener};
use adit_protocol::{Account, Endpoint, RelayId};
use arc_swap::ArcSwap;
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, sync::oneshot, time::timeout};
use tokio_rustls::TlsConnector;

/// The least number of connections to a peer.
const CONNECTIONS: usize = 4;
/// One account gets at most this many streams of one connection: no tenant can fill a link.
const ACCOUNT_STREAMS: usize = MAX_STREAMS / 8;
/// How long a dial may take before another peer is tried.
const DIAL: Duration = Duration::from_millis(300);
/// After a dial that failed a peer is left alone for so long.
const REST: Duration = Duration::from_millis(500);

const POISONED: &str = "no code panics while it holds this lock";

/// Why there is no stream to a peer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// This relay has no peer certificate, or the peer has not told where it listens.
    #[error("the peer cannot be reached: it has told no address, or this relay has no peer certificate")]
    NoAddress,
    /// The last dial failed a moment ago.
    #[error("the last dial failed a moment ago")]
    Resting,
    /// The dial took too long.
    #[error("the peer did not answer in {} ms", DIAL.as_millis())]
    Slow,
    /// The dial failed.
    #[error("the peer cannot be dialled")]
    Dial(#[source] io::Error),
    /// HTTP/2 did not start.
    #[error("the link did not start")]
    Start(#[source] h2::Error),
    /// The link was cut before the peer had said what it takes.
    #[error("the link was cut before the peer had said what it takes")]
    Cut,
    /// All connections have as many streams as the account may have.
    #[error("all links are full")]
    Full,
}

/// One connection to a peer.
#[derive(Debug)]
pub struct Connection {
    lane: Option<usize>,
    opener: Opener,
    streams: AtomicUsize,
    accounts: Mutex<HashMap<Account, usize>>,
}

/// A place for one stream of a connection; given back when it is dropped.
#[derive(Debug)]
pub struct PeerPlace {
    connection: Arc<Connection>,
    account: Account,
}

impl Connection {
    fn place(self: &Arc<Self>, account: &Account) -> Option<PeerPlace> {
        let mut accounts = self.accounts.lock().expect(POISONED);
        let taken = accounts.get(account).copied().unwrap_or(0);
        if taken >= ACCOUNT_STREAMS || self.streams.load(Ordering::Relaxed) >= MAX_STREAMS {
            return None;
        }
        accounts.insert(account.clone(), taken + 1);
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(PeerPlace { connection: self.clone(), account: account.clone() })
    }
}

impl Drop for PeerPlace {
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

#[derive(Debug, Default)]
struct Peer {
    connections: Mutex<Vec<Arc<Connection>>>,
    rests_until: Mutex<Option<std::time::Instant>>,
}

/// All links that this relay opens.
#[derive(Debug)]
pub struct Peers {
    pub(super) tls: Option<ArcSwap<PeerTls>>,
    pub(super) table: Arc<Table>,
    pub(super) me: RelayId,
    /// How many connections a lane has to each peer.
    each: usize,
    peers: Mutex<HashMap<RelayId, Arc<Peer>>>,
    metrics: Arc<LaneMetrics>,
    pub(super) asked: super::ask::Asked,
}

impl Peers {
    /// No links yet.
    pub fn new(
        tls: Option<PeerTls>,
        table: Arc<Table>,
        me: RelayId,
        lanes: usize,
        metrics: Arc<LaneMetrics>,
    ) -> Self {
        let each = CONNECTIONS.div_ceil(lanes.max(1));
        Self {
            tls: tls.map(ArcSwap::from_pointee),
            table,
            me,
            each,
            peers: Mutex::default(),
            metrics,
            asked: super::ask::Asked::default(),
        }
    }

    /// A place for one stream of an account on a connection to a peer, of the caller's lane where that is possible.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn opener(&self, id: &RelayId, account: &Account) -> Result<(Opener, PeerPlace), LinkError> {
        let peer = self.peers.lock().expect(POISONED).entry(id.clone()).or_default().clone();
        let lane = lanes::current();
        let mine: Vec<_> = {
            let mut connections = peer.connections.lock().expect(POISONED);
            connections.retain(|one| !is_over(&one.opener));
            connections.iter().filter(|one| one.lane == lane).cloned().collect()
        };
        let least = mine.iter().min_by_key(|one| one.streams.load(Ordering::Relaxed));
        let busy = least.is_none_or(|one| one.streams.load(Ordering::Relaxed) > 0);
        if let Some(place) =
            least.filter(|_| mine.len() >= self.each || !busy).and_then(|one| one.place(account))
        {
            return Ok((place.connection.opener.clone(), place));
        }
        if mine.len() < self.each {
            match self.dial(id, &peer, lane).await {
                Ok(connection) => {
                    let place = connection.place(account).ok_or(LinkError::Full)?;
                    return Ok((connection.opener.clone(), place));
                }
                Err(error) if mine.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        let place = mine.iter().find_map(|one| one.place(account)).ok_or(LinkError::Full)?;
        Ok((place.connection.opener.clone(), place))
    }

    async fn dial(
        &self,
        id: &RelayId,
        peer: &Peer,
        lane: Option<usize>,
    ) -> Result<Arc<Connection>, LinkError> {
        if peer.rests_until.lock().expect(POISONED).is_some_and(|until| std::time::Instant::now() < until) {
            return Err(LinkError::Resting);
        }
        let dialled = match timeout(DIAL, self.connect(id)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(LinkError::Slow),
        };
        match dialled {
            Ok(opener) => {
                self.metrics.count(Count::PeerDials);
                let (streams, accounts) = (AtomicUsize::new(0), Mutex::default());
                let connection = Arc::new(Connection { lane, opener, streams, accounts });
                peer.connections.lock().expect(POISONED).push(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.metrics.count(Count::PeerFailures);
                *peer.rests_until.lock().expect(POISONED) = Some(std::time::Instant::now() + REST);
                Err(error)
            }
        }
    }

    async fn connect(&self, id: &RelayId) -> Result<Opener, LinkError> {
        let address = self.address(id).ok_or(LinkError::NoAddress)?;
        let tls = self.tls.as_ref().ok_or(LinkError::NoAddress)?.load_full();
        let tcp = TcpStream::connect(address).await.map_err(LinkError::Dial)?;
        adit_mux::socket::prepare(&tcp).map_err(LinkError::Dial)?;
        let io = TlsConnector::from(tls.client.clone()).connect(tls.name.clone(), tcp).await;
        let (opener, pinger, driver) =
            adit_mux::open(io.map_err(LinkError::Dial)?).await.map_err(LinkError::Start)?;
        let metrics = self.metrics.clone();
        let (told, answered) = oneshot::channel();
        let mut told = Some(told);
        let measured = move |_| {
            if let Some(told) = told.take() {
                // A caller that has given up does not mind.
                let _ = told.send(());
            }
        };
        tokio::spawn(async move {
            // A peer that hangs is noticed by its silence; what was under way on the link fails then.
            let lost =
                tokio::select! { ended = driver => ended.is_err(), _ = pinger.watch(measured) => true };
            if lost {
                metrics.count(Count::PeerFailures);
            }
        });
        // A peer's settings come before its first answer to a ping. Without them no Upgrade could be sent.
        answered.await.map_err(|_| LinkError::Cut)?;
        Ok(opener)
    }

    fn address(&self, id: &RelayId) -> Option<String> {
        self.table.relays().iter().find(|record| record.relay == *id)?.peer.clone()
    }

    /// Uses another certificate for links that begin from now on.
    pub fn replace_tls(&self, tls: PeerTls) {
        if let Some(current) = &self.tls {
            current.store(Arc::new(tls));
        }
    }

    /// The healthy peers, this relay left out.
    pub(super) fn others(&self) -> Vec<RelayId> {
        self.table.relays().iter().map(|record| record.relay.clone()).filter(|id| *id != self.me).collect()
    }

    /// Forgets the links to relays that are not there any more.
    pub fn prune(&self) {
        let known = self.others();
        self.peers
            .lock()
            .expect(POISONED)
            .retain(|id, peer| known.contains(id) || !peer.connections.lock().expect(POISONED).is_empty());
    }

    /// A peer that may serve an endpoint which the table does not have, while the registry is away.
    pub async fn ask(&self, endpoint: &Endpoint) -> Option<Arc<crate::table::Row>> {
        super::ask::ask(self, endpoint).await
    }

    /// The newest suspensions that a peer knows, if they are newer than the version that this relay knows or it knows none.
    pub async fn suspensions(&self, known: Option<u64>) -> Option<adit_store::Suspensions> {
        super::suspensions::ask(self, known).await
    }
}

/// Whether a connection has ended.
fn is_over(opener: &Opener) -> bool {
    let mut opener = opener.clone();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    matches!(opener.poll_ready(&mut cx), std::task::Poll::Ready(Err(_)))
}
