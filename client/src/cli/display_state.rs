//! The state of a running client, folded from its events.

mod traffic;

pub(super) use traffic::Traffic;

use crate::event::{
    ClientState, Event, EventKind, Session, SessionState, Time, Tunnel, TunnelState, TunnelStatus,
};
use adit_protocol::{Code, SessionId, TunnelId};
use std::collections::BTreeMap;

/// The most sessions that are kept in mind: more than a client has.
const MAX_SESSIONS: usize = 64;

/// A running client.
#[derive(Debug)]
pub(super) struct DisplayState {
    /// Whether it is `adit start`, which has one line for each tunnel.
    pub(super) many: bool,
    /// The client as a whole.
    pub(super) client: ClientState,
    /// Why it is in this state.
    pub(super) reason: Option<String>,
    /// The host that is dialled.
    pub(super) host: Option<String>,
    /// When it tries again.
    pub(super) retry_at: Option<Time>,
    /// When this state began.
    pub(super) since: Time,
    /// How many tries there were without a connection in between, the present one included.
    pub(super) tries: u32,
    /// The sessions that are not closed.
    pub(super) sessions: BTreeMap<SessionId, SessionView>,
    /// The session that was lost last, until the client is connected again.
    pub(super) lost: Option<LostSession>,
    /// When the last session was lost, while there is none.
    pub(super) alone_since: Option<Time>,
    /// When the first of the tries in a row began, until a connection.
    pub(super) trying_since: Option<Time>,
    /// The relay that drains, until it is gone.
    pub(super) draining: Option<DrainingRelay>,
    /// The tunnels in the order in which they were added.
    pub(super) tunnels: Vec<TunnelView>,
    /// Requests and connections.
    pub(super) traffic: Traffic,
    /// Where the inspector answers.
    pub(super) inspect: Option<String>,
    /// The remark about the last key, and its time; shown for a moment.
    pub(super) remark: Option<(Time, String)>,
}

/// A session that is not closed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SessionView {
    /// The relay.
    pub(super) relay: String,
    /// Its state.
    pub(super) state: SessionState,
    /// The round trip.
    pub(super) latency_ms: Option<u64>,
    /// When it was first heard of.
    pub(super) since: Time,
}

/// A session that was lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LostSession {
    /// Its relay.
    pub(super) relay: String,
    /// When it was lost.
    pub(super) at: Time,
}

/// A relay that goes away.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DrainingRelay {
    /// The relay.
    pub(super) relay: String,
    /// Since when it is known.
    pub(super) since: Time,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TunnelView {
    /// Its specification.
    pub(super) wanted: Tunnel,
    /// How consumers find it.
    pub(super) state: TunnelState,
    /// Where consumers reach it.
    pub(super) url: Option<String>,
    /// Whether the name that was asked for was granted.
    pub(super) name_granted: Option<bool>,
    /// Why another name was granted.
    pub(super) name_code: Option<Code>,
    /// Why it is in this state.
    pub(super) code: Option<Code>,
    /// The reason for a person.
    pub(super) reason: Option<String>,
    /// When it is asked for again.
    pub(super) retry_at: Option<Time>,
    /// When this state began.
    pub(super) since: Time,
}

impl DisplayState {
    /// A client that begins now.
    pub(super) fn new(many: bool, now: Time) -> Self {
        Self {
            many,
            client: ClientState::Connecting,
            reason: None,
            host: None,
            retry_at: None,
            since: now,
            tries: 1,
            sessions: BTreeMap::new(),
            lost: None,
            alone_since: None,
            trying_since: Some(now),
            draining: None,
            tunnels: Vec::new(),
            traffic: Traffic::default(),
            inspect: None,
            remark: None,
        }
    }

    /// Takes one event in.
    pub(super) fn apply(&mut self, event: &Event) {
        let now = event.time;
        match &event.kind {
            EventKind::ClientStarted { inspect, .. } => self.inspect.clone_from(inspect),
            EventKind::ClientState { state, reason, retry_at } => {
                self.client_state(*state, reason, *retry_at, now);
            }
            EventKind::SessionState(session) => self.session(session, now),
            EventKind::TunnelAdded(tunnel) | EventKind::TunnelConfig(tunnel) => self.wanted(tunnel, now),
            EventKind::TunnelState(status) => self.tunnel_state(status, now),
            EventKind::TunnelRemoved { tunnel, .. } => self.tunnels.retain(|t| t.wanted.tunnel != *tunnel),
            EventKind::Request(exchange) | EventKind::Connection(exchange) => self.traffic.count(exchange),
            EventKind::Notice(_) | EventKind::Error(_) | EventKind::ClientStopped { .. } => {}
        }
    }

    fn client_state(
        &mut self,
        state: ClientState,
        reason: &Option<String>,
        retry_at: Option<Time>,
        now: Time,
    ) {
        // While it stops, the client loses its sessions in any order.
        if self.client == ClientState::Stopping {
            return;
        }
        let trying =
            |s| matches!(s, ClientState::Connecting | ClientState::Reconnecting | ClientState::Offline);
        if state == ClientState::Connected {
            self.lost = None;
        }
        if state != self.client {
            self.since = now;
        }
        // Each try has its own event; reconnecting and offline are one series of tries.
        let next_try = retry_at.is_some() && retry_at != self.retry_at;
        self.tries = match (trying(self.client), trying(state)) {
            (_, false) => 1,
            (false, true) => 2,
            (true, true) if next_try => self.tries.saturating_add(1),
            (true, true) => self.tries,
        };
        self.trying_since = if trying(state) { self.trying_since.or(Some(now)) } else { None };
        self.client = state;
        if state == ClientState::Connecting && retry_at.is_none() {
            // The reason of the first event is the host that is dialled.
            self.host.clone_from(reason);
            self.reason = None;
        } else {
            self.reason.clone_from(reason);
        }
        self.retry_at = retry_at;
    }

    fn session(&mut self, session: &Session, now: Time) {
        let relay = session.relay.to_string();
        if session.state == SessionState::Closed {
            if self.sessions.remove(&session.session).is_none() {
                return;
            }
            let still = self.sessions.values().any(|s| s.relay == relay);
            match &self.draining {
                Some(draining) if draining.relay == relay => {
                    if !still {
                        self.draining = None;
                    }
                }
                _ => self.lost = Some(LostSession { relay, at: now }),
            }
        } else if self.sessions.len() < MAX_SESSIONS || self.sessions.contains_key(&session.session) {
            if session.state == SessionState::Moving
                && self.draining.as_ref().is_none_or(|d| d.relay != relay)
            {
                self.draining = Some(DrainingRelay { relay: relay.clone(), since: now });
            }
            let view = self.sessions.entry(session.session.clone());
            let view =
                view.or_insert(SessionView { relay, state: session.state, latency_ms: None, since: now });
            view.state = session.state;
            view.latency_ms = session.latency_ms.or(view.latency_ms);
        }
        let up = self.sessions.values().any(|s| s.state != SessionState::Connecting);
        self.alone_since = if up { None } else { self.alone_since.or(Some(now)) };
    }

    fn wanted(&mut self, tunnel: &Tunnel, now: Time) {
        if let Some(known) = self.tunnel_mut(&tunnel.tunnel) {
            known.wanted = tunnel.clone();
            return;
        }
        self.tunnels.push(TunnelView {
            wanted: tunnel.clone(),
            state: TunnelState::Connecting,
            url: None,
            name_granted: None,
            name_code: None,
            code: None,
            reason: None,
            retry_at: None,
            since: now,
        });
    }

    fn tunnel_state(&mut self, status: &TunnelStatus, now: Time) {
        let Some(tunnel) = self.tunnel_mut(&status.tunnel) else { return };
        if status.state != tunnel.state {
            tunnel.since = now;
        }
        tunnel.state = status.state;
        if status.url.is_some() {
            tunnel.url.clone_from(&status.url);
        }
        if status.name_granted.is_some() {
            tunnel.name_granted = status.name_granted;
            tunnel.name_code = status.code.filter(|_| status.name_granted == Some(false));
        }
        tunnel.code = status.code;
        tunnel.reason.clone_from(&status.reason);
        tunnel.retry_at = status.retry_at;
    }

    fn tunnel_mut(&mut self, id: &TunnelId) -> Option<&mut TunnelView> {
        self.tunnels.iter_mut().find(|t| t.wanted.tunnel == *id)
    }

    /// The tunnel with this id.
    pub(super) fn tunnel(&self, id: &TunnelId) -> Option<&TunnelView> {
        self.tunnels.iter().find(|t| t.wanted.tunnel == *id)
    }

    /// The relays with a session that takes requests: each once, with its shortest round trip, by name.
    pub(super) fn relays(&self) -> BTreeMap<&str, Option<u64>> {
        let mut relays = BTreeMap::new();
        for session in self.sessions.values().filter(|s| s.state == SessionState::Connected) {
            let latency = relays.entry(session.relay.as_str()).or_insert(session.latency_ms);
            *latency = match (*latency, session.latency_ms) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        relays
    }

    /// The relay that took over from the one that drains: the newest session that came after.
    pub(super) fn successor(&self) -> Option<&str> {
        let draining = self.draining.as_ref()?;
        let connected = self.sessions.values().filter(|s| s.state == SessionState::Connected);
        let after = connected.filter(|s| s.relay != draining.relay && s.since >= draining.since);
        after.max_by_key(|s| s.since).map(|s| s.relay.as_str())
    }

    /// Whether the view changes with time alone.
    pub(super) fn ticks(&self) -> bool {
        self.client != ClientState::Connected
            || self.lost.is_some()
            || self.retry_at.is_some()
            || self.remark.is_some()
    }
}

#[cfg(test)]
mod tests;
