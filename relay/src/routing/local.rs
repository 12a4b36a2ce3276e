//! The sessions of this relay, and the endpoints that they serve.

mod bulk_detector;
mod session;
mod session_selection;

pub(crate) use session::{Command, Session, StreamPlace};

use crate::lock::POISONED;
use crate::{accounts::AccountUsage, cluster::registry::Claim};
use adit_mux::MAX_STREAMS;
use adit_protocol::{Account, Endpoint, InstanceId, RelayId, SessionId, TunnelId, TunnelOptions};
use adit_store::Lease;
use http::HeaderValue;
use session_selection::choose;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, RwLock},
    time::Instant,
};
use tokio::sync::Notify;

/// An endpoint that sessions of this relay serve.
#[derive(Clone, Debug)]
pub(crate) struct ServedEndpoint {
    /// Where consumers reach it.
    pub(crate) endpoint: Endpoint,
    /// Who serves it.
    pub(crate) account: Account,
    /// What the account uses.
    pub(crate) usage: Arc<AccountUsage>,
    /// The run of the client that serves it.
    pub(crate) instance: InstanceId,
    /// Which owner of the endpoint this is; later owners have greater numbers.
    pub(crate) generation: u64,
    /// The client's id for the tunnel.
    pub(crate) tunnel: TunnelId,
    /// The same as a header.
    pub(crate) tunnel_header: HeaderValue,
    /// The tunnel's options.
    pub(crate) options: TunnelOptions,
    /// Since when this relay serves it, in seconds since 1970.
    pub(crate) since: u64,
    /// The sessions that serve it.
    pub(crate) sessions: Vec<Arc<Session>>,
}

impl ServedEndpoint {
    /// What the registry knows of one session for this endpoint.
    pub(crate) fn claim(&self, session: &SessionId, relay: &RelayId) -> Claim {
        Claim {
            endpoint: self.endpoint.clone(),
            account: self.account.clone(),
            instance: self.instance.clone(),
            generation: self.generation,
            tunnel: self.tunnel.clone(),
            options: self.options.clone(),
            session: session.clone(),
            relay: relay.clone(),
        }
    }

    /// What the store knows of the owner.
    pub(crate) fn lease(&self) -> Lease {
        Lease { endpoint: self.endpoint.clone(), account: self.account.clone(), generation: self.generation }
    }

    /// Whether any session takes streams as long as it has room.
    pub(crate) fn is_open(&self) -> bool {
        self.sessions.iter().any(|session| !session.is_closing())
    }

    /// The session for the next stream of a caller on this lane, or on none. Sessions for which `avoid` holds, and those that
    /// are closing or full, are left out.
    pub(crate) fn session(
        &self,
        lane: Option<usize>,
        avoid: impl Fn(&Session) -> bool,
    ) -> Option<&Arc<Session>> {
        let now = Instant::now();
        let open = |one: &&Arc<Session>| !one.is_closing() && one.streams() < MAX_STREAMS && !avoid(one);
        let those = |near: bool| {
            let lane = self.sessions.iter().filter(move |one| (Some(one.lane) == lane) == near);
            lane.filter(&open).map(|one| (one.load(now), one))
        };
        choose(those(true), those(false))
    }
}

/// All sessions and endpoints of this relay.
#[derive(Debug, Default)]
pub(crate) struct Local {
    endpoints: RwLock<HashMap<Endpoint, Arc<ServedEndpoint>>>,
    sessions: RwLock<HashMap<SessionId, Arc<Session>>>,
    /// Those whose connection may still carry something, also while they end.
    alive: Mutex<HashMap<SessionId, Arc<Session>>>,
    served: Notify,
}

impl Local {
    /// Who serves an endpoint here.
    pub(crate) fn endpoint(&self, endpoint: &Endpoint) -> Option<Arc<ServedEndpoint>> {
        self.endpoints.read().expect(POISONED).get(endpoint).cloned()
    }

    /// Who serves an endpoint here, as soon as somebody does.
    pub(crate) async fn soon(&self, endpoint: &Endpoint) -> Arc<ServedEndpoint> {
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
    pub(crate) fn endpoints(&self) -> Vec<Arc<ServedEndpoint>> {
        self.endpoints.read().expect(POISONED).values().cloned().collect()
    }

    /// All sessions.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.read().expect(POISONED).values().cloned().collect()
    }

    /// All sessions whose connection may still carry something.
    pub(crate) fn alive(&self) -> Vec<Arc<Session>> {
        self.alive.lock().expect(POISONED).values().cloned().collect()
    }

    /// Whether the connection of a session may still carry something.
    pub(crate) fn is_alive(&self, id: &SessionId) -> bool {
        self.alive.lock().expect(POISONED).contains_key(id)
    }

    /// The connection of a session may carry something from now on.
    pub(crate) fn set_alive(&self, session: &Arc<Session>) {
        self.alive.lock().expect(POISONED).insert(session.id.clone(), session.clone());
    }

    /// The connection of a session is gone.
    pub(crate) fn set_dead(&self, id: &SessionId) {
        self.alive.lock().expect(POISONED).remove(id);
    }

    /// How many sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.read().expect(POISONED).len()
    }

    /// How many sessions each of so many lanes has.
    pub(crate) fn lane_sessions(&self, lanes: usize) -> Vec<usize> {
        let mut counts = vec![0; lanes];
        for session in self.sessions.read().expect(POISONED).values() {
            counts[session.lane] += 1;
        }
        counts
    }

    /// One session.
    pub(crate) fn session(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.sessions.read().expect(POISONED).get(id).cloned()
    }

    /// A session begins.
    pub(crate) fn add_session(&self, session: Arc<Session>) {
        self.sessions.write().expect(POISONED).insert(session.id.clone(), session);
    }

    /// A session has ended: nothing is served by it any more. Answers with what it served.
    pub(crate) fn remove_session(&self, id: &SessionId) -> Vec<Arc<ServedEndpoint>> {
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
    pub(crate) fn serve(&self, new: ServedEndpoint) -> Option<Vec<Arc<Session>>> {
        let placed = place(&mut self.endpoints.write().expect(POISONED), new);
        self.served.notify_waiters();
        placed
    }

    /// A session serves an endpoint no longer.
    pub(crate) fn stop_serving(&self, endpoint: &Endpoint, id: &SessionId) {
        if let Some(session) = self.session(id) {
            session.let_go(endpoint);
        }
        displace(&mut self.endpoints.write().expect(POISONED), endpoint, id);
    }
}

fn place(
    map: &mut HashMap<Endpoint, Arc<ServedEndpoint>>,
    mut new: ServedEndpoint,
) -> Option<Vec<Arc<Session>>> {
    let mut lost = vec![];
    if let Some(old) = map.get(&new.endpoint) {
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
    map.insert(new.endpoint.clone(), Arc::new(new));
    Some(lost)
}

fn displace(map: &mut HashMap<Endpoint, Arc<ServedEndpoint>>, endpoint: &Endpoint, id: &SessionId) {
    let Some(served) = map.get_mut(endpoint) else { return };
    let mut without = served.as_ref().clone();
    without.sessions.retain(|session| session.id != *id);
    if without.sessions.is_empty() {
        map.remove(endpoint);
    } else {
        *served = Arc::new(without);
    }
}
