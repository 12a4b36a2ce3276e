//! The sessions of this relay, and the endpoints that they serve.

use crate::{
    access::Permissions,
    limits::{AccountUse, TunnelPermit},
    metrics::Open,
    registry::Claim,
};
use adit_mux::{MAX_STREAMS, Opener};
use adit_protocol::{Account, Endpoint, InstanceId, RelayId, SessionId, ToClient, TunnelId};
use adit_store::Lease;
use http::HeaderValue;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

const POISONED: &str = "no code panics while it holds this lock";

/// How many commands may wait for a session's control stream.
pub const COMMANDS: usize = 64;

/// One authenticated connection of a client to this relay.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The lane that it lives on.
    pub lane: usize,
    /// Who the client is.
    pub account: Account,
    /// What the account uses.
    pub usage: Arc<AccountUse>,
    /// What its credential allows.
    pub permissions: Permissions,
    /// The run of the client.
    pub instance: InstanceId,
    /// Where the client's connection comes from.
    pub remote: SocketAddr,
    /// The client's version.
    pub client_version: String,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// Opens streams to the client.
    pub opener: Opener,
    /// When its credential ends, in seconds since 1970.
    expires: AtomicU64,
    /// The last measured round trip in microseconds; 0 until there is one.
    pub round_trip_us: AtomicU32,
    endpoints: Mutex<HashMap<Endpoint, (TunnelPermit, Open)>>,
    streams: AtomicUsize,
    answered: CancellationToken,
    closing: AtomicBool,
    suspended: AtomicBool,
    /// Ends the session at once, without a word.
    pub cut: CancellationToken,
    commands: mpsc::Sender<Command>,
}

/// What other parts of the relay want of a session.
#[derive(Debug)]
pub enum Command {
    /// Tell the client.
    Tell(ToClient),
    /// Stop serving one endpoint on this session and tell the client why.
    CloseTunnel(Endpoint, ToClient),
    /// End the session with this last message.
    Close(ToClient),
}

/// A place for one stream of a session; given back when it is dropped.
#[derive(Debug)]
pub struct StreamPlace(Arc<Session>);

impl Session {
    /// A session whose commands arrive at the returned receiver.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of the session, named where it is made")]
    pub fn new(
        id: SessionId,
        lane: usize,
        account: Account,
        usage: Arc<AccountUse>,
        permissions: Permissions,
        instance: InstanceId,
        remote: SocketAddr,
        client_version: String,
        since: u64,
        opener: Opener,
    ) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(COMMANDS);
        let session = Self {
            id,
            lane,
            account,
            usage,
            permissions,
            instance,
            remote,
            client_version,
            since,
            opener,
            round_trip_us: AtomicU32::new(0),
            expires: AtomicU64::new(0),
            endpoints: Mutex::default(),
            streams: AtomicUsize::new(0),
            answered: CancellationToken::new(),
            closing: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            cut: CancellationToken::new(),
            commands,
        };
        (Arc::new(session), received)
    }

    /// A place for one more stream, unless all [`MAX_STREAMS`] are taken.
    pub fn place(self: &Arc<Self>) -> Option<StreamPlace> {
        let taken = self.streams.fetch_add(1, Ordering::Relaxed);
        let place = StreamPlace(self.clone());
        (taken < MAX_STREAMS).then_some(place)
    }

    /// The endpoints that it serves, or served until a newer owner came.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints.lock().expect(POISONED).keys().cloned().collect()
    }

    /// The session serves this endpoint from now on.
    pub fn hold(&self, endpoint: Endpoint, permit: TunnelPermit, open: Open) {
        self.endpoints.lock().expect(POISONED).insert(endpoint, (permit, open));
    }

    /// When its credential ends, in seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.expires.load(Ordering::Relaxed)
    }

    /// The credential has been renewed.
    pub fn set_expires(&self, expires: u64) {
        self.expires.store(expires, Ordering::Relaxed);
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Waits until the client's first word has come, and with it what its SETTINGS say, or the session has ended.
    pub async fn answered(&self) {
        self.answered.cancelled().await;
    }

    /// Notes that nothing is to be waited for any more.
    pub fn set_answered(&self) {
        self.answered.cancel();
    }

    /// Whether the session takes no new streams any more.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// From now on the session takes no new streams.
    pub fn set_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Notes that the session is suspended; answers whether that is news.
    pub fn suspend(&self) -> bool {
        !self.suspended.swap(true, Ordering::Relaxed)
    }

    /// Hands a command to the session. Answers whether it was taken: a client that reads nothing has a full queue.
    pub fn command(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }
}

impl StreamPlace {
    /// The session.
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An endpoint that sessions of this relay serve.
#[derive(Clone, Debug)]
pub struct Served {
    /// Where consumers reach it.
    pub endpoint: Endpoint,
    /// Who serves it.
    pub account: Account,
    /// What the account uses.
    pub usage: Arc<AccountUse>,
    /// The run of the client that serves it.
    pub instance: InstanceId,
    /// Which owner of the endpoint this is; later owners have greater numbers.
    pub generation: u64,
    /// The client's id for the tunnel.
    pub tunnel: TunnelId,
    /// The same as a header.
    pub tunnel_header: HeaderValue,
    /// Since when this relay serves it, in seconds since 1970.
    pub since: u64,
    /// The sessions that serve it.
    pub sessions: Vec<Arc<Session>>,
}

impl Served {
    /// What the registry knows of one session for this endpoint.
    pub fn claim(&self, session: &SessionId, relay: &RelayId) -> Claim {
        Claim {
            endpoint: self.endpoint.clone(),
            account: self.account.clone(),
            instance: self.instance.clone(),
            generation: self.generation,
            tunnel: self.tunnel.clone(),
            session: session.clone(),
            relay: relay.clone(),
        }
    }

    /// What the store knows of the owner.
    pub fn lease(&self) -> Lease {
        Lease { endpoint: self.endpoint.clone(), account: self.account.clone(), generation: self.generation }
    }

    /// Whether any session takes streams as long as it has room.
    pub fn is_open(&self) -> bool {
        self.sessions.iter().any(|session| !session.is_closing())
    }

    /// The session for the next stream: on the caller's lane if there is one, and there the one with the fewest
    /// streams. Sessions for which `avoid` holds, and those that are closing or full, are left out.
    pub fn session(&self, lane: Option<usize>, avoid: impl Fn(&Session) -> bool) -> Option<&Arc<Session>> {
        self.sessions
            .iter()
            .filter(|one| !one.is_closing() && one.streams() < MAX_STREAMS && !avoid(one))
            .min_by_key(|session| (Some(session.lane) != lane, session.streams()))
    }
}

/// All sessions and endpoints of this relay.
#[derive(Debug, Default)]
pub struct Local {
    hosts: RwLock<HashMap<Arc<str>, Arc<Served>>>,
    ports: RwLock<HashMap<u16, Arc<Served>>>,
    sessions: RwLock<HashMap<SessionId, Arc<Session>>>,
    /// Those whose connection may still carry something, also while they end.
    alive: Mutex<HashMap<SessionId, Arc<Session>>>,
    served: Notify,
}

impl Local {
    /// Who serves a host name here.
    pub fn host(&self, host: &str) -> Option<Arc<Served>> {
        self.hosts.read().expect(POISONED).get(host).cloned()
    }

    /// Who serves a port here.
    pub fn port(&self, port: u16) -> Option<Arc<Served>> {
        self.ports.read().expect(POISONED).get(&port).cloned()
    }

    /// Who serves an endpoint here.
    pub fn endpoint(&self, endpoint: &Endpoint) -> Option<Arc<Served>> {
        match endpoint {
            Endpoint::Host(host) => self.host(host),
            Endpoint::Tcp(port) => self.port(*port),
        }
    }

    /// Who serves an endpoint here, as soon as somebody does.
    pub async fn soon(&self, endpoint: &Endpoint) -> Arc<Served> {
        loop {
            let mut served = std::pin::pin!(self.served.notified());
            served.as_mut().enable();
            if let Some(found) = self.endpoint(endpoint) {
                return found;
            }
            served.await;
        }
    }

    /// All endpoints that are served here.
    pub fn endpoints(&self) -> Vec<Arc<Served>> {
        let hosts = self.hosts.read().expect(POISONED);
        let ports = self.ports.read().expect(POISONED);
        hosts.values().chain(ports.values()).cloned().collect()
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.read().expect(POISONED).values().cloned().collect()
    }

    /// All sessions whose connection may still carry something.
    pub fn alive(&self) -> Vec<Arc<Session>> {
        self.alive.lock().expect(POISONED).values().cloned().collect()
    }

    /// Whether the connection of a session may still carry something.
    pub fn is_alive(&self, id: &SessionId) -> bool {
        self.alive.lock().expect(POISONED).contains_key(id)
    }

    /// The connection of a session may carry something from now on.
    pub fn set_alive(&self, session: &Arc<Session>) {
        self.alive.lock().expect(POISONED).insert(session.id.clone(), session.clone());
    }

    /// The connection of a session is gone.
    pub fn set_dead(&self, id: &SessionId) {
        self.alive.lock().expect(POISONED).remove(id);
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.read().expect(POISONED).len()
    }

    /// How many sessions each of so many lanes has.
    pub fn lane_sessions(&self, lanes: usize) -> Vec<usize> {
        let mut counts = vec![0; lanes];
        for session in self.sessions.read().expect(POISONED).values() {
            counts[session.lane] += 1;
        }
        counts
    }

    /// One session.
    pub fn session(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.sessions.read().expect(POISONED).get(id).cloned()
    }

    /// A session begins.
    pub fn add_session(&self, session: Arc<Session>) {
        self.sessions.write().expect(POISONED).insert(session.id.clone(), session);
    }

    /// A session has ended: nothing is served by it any more. Answers with what it served.
    pub fn remove_session(&self, id: &SessionId) -> Vec<Arc<Served>> {
        let Some(session) = self.sessions.write().expect(POISONED).remove(id) else { return vec![] };
        let endpoints = session.endpoints();
        let served = endpoints.iter().filter_map(|endpoint| self.endpoint(endpoint)).collect();
        for endpoint in &endpoints {
            self.stop_serving(endpoint, id);
        }
        served
    }

    /// A session serves an endpoint. A greater generation than the one here takes its place; answers with the sessions
    /// that lose the endpoint by that, or `None` when this one is not the newest itself.
    pub fn serve(&self, new: Served) -> Option<Vec<Arc<Session>>> {
        let placed = match new.endpoint.clone() {
            Endpoint::Host(host) => place(&mut self.hosts.write().expect(POISONED), host, new),
            Endpoint::Tcp(port) => place(&mut self.ports.write().expect(POISONED), port, new),
        };
        self.served.notify_waiters();
        placed
    }

    /// A session serves an endpoint no longer.
    pub fn stop_serving(&self, endpoint: &Endpoint, id: &SessionId) {
        if let Some(session) = self.session(id) {
            session.endpoints.lock().expect(POISONED).remove(endpoint);
        }
        match endpoint {
            Endpoint::Host(host) => displace(&mut self.hosts.write().expect(POISONED), host, id),
            Endpoint::Tcp(port) => displace(&mut self.ports.write().expect(POISONED), port, id),
        }
    }
}

fn place<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, Arc<Served>>,
    key: K,
    mut new: Served,
) -> Option<Vec<Arc<Session>>> {
    let mut lost = vec![];
    if let Some(old) = map.get(&key) {
        if old.generation > new.generation {
            return None;
        }
        if old.generation == new.generation {
            let joined = old.sessions.iter().filter(|old| new.sessions.iter().all(|s| s.id != old.id));
            new.since = old.since;
            new.sessions.extend(joined.cloned().collect::<Vec<_>>());
        } else {
            lost.clone_from(&old.sessions);
        }
    }
    map.insert(key, Arc::new(new));
    Some(lost)
}

fn displace<K, Q>(map: &mut HashMap<K, Arc<Served>>, key: &Q, id: &SessionId)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
{
    let Some(served) = map.get_mut(key) else { return };
    let mut without = served.as_ref().clone();
    without.sessions.retain(|session| session.id != *id);
    if without.sessions.is_empty() {
        map.remove(key);
    } else {
        *served = Arc::new(without);
    }
}
