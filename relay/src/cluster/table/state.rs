//! What the table is made of, as a pure value: no clock, no IO.
//!
//! Three sources are merged into one view of each endpoint:
//! - `rows`: what the registry holds, a state per endpoint with the version that the registry gave it. The greater
//!   version of an endpoint wins, so that changes may come twice and in any order;
//! - `old`: what an earlier registry held that has lost its content since. It counts until the relays had time to say
//!   anew what they serve, so that a registry that is flushed takes no route away;
//! - `own`: what this relay's own sessions serve. For these sessions it is the truth, whatever the registry says.
//!
//! The owner with the greatest generation has the endpoint. Of two owners with an equal one, the registry's has it.

mod claims;
mod own;
mod relays;

use crate::cluster::row::{MAX_ROWS, MAX_SESSIONS, RELAY_TTL, RelayRecord, Row, RowSession};
use adit_protocol::{Endpoint, RelayId};
use own::Own;
pub(crate) use own::{BeatPlan, Release};
use relays::Relays;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    time::Duration,
};

/// One change of the registry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Greater than that of every change before it, without a gap.
    pub(crate) version: u64,
    pub(crate) what: ChangeKind,
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// An endpoint has this row now.
    Row(Row),
    /// An endpoint has no row now.
    Gone(Endpoint),
    /// A relay has said that it is well.
    Beat(RelayRecord),
    /// A relay has left, or was found to be gone.
    Left(RelayId),
    /// Something that this relay cannot read. It has its place in the order all the same.
    Unreadable,
}

/// What has to be shown anew to the readers.
#[derive(Debug, Default)]
pub(super) struct TouchedRows {
    pub(super) endpoints: BTreeSet<Endpoint>,
    pub(super) relays: bool,
}

/// The version of a row that was in an earlier snapshot, until it is in this one.
const UNCONFIRMED: u64 = 0;

#[derive(Debug)]
pub(crate) struct State {
    me: RelayId,
    epoch: u64,
    /// Every change up to this version is in `rows`; what comes late with a lower one is known already.
    floor: u64,
    rows: HashMap<Endpoint, (u64, Row)>,
    /// Versions above the floor at which endpoints lost their rows.
    gone: HashMap<Endpoint, u64>,
    old: HashMap<Endpoint, Row>,
    old_left: Duration,
    own: Own,
    /// Endpoints whose registry row has a session of this relay that this relay does not have.
    strays: HashSet<Endpoint>,
    relays: Relays,
    /// What this relay says of itself.
    record: Option<RelayRecord>,
    touched: TouchedRows,
}

impl State {
    pub(super) fn new(me: RelayId) -> Self {
        Self {
            me,
            epoch: 0,
            floor: 0,
            rows: HashMap::new(),
            gone: HashMap::new(),
            old: HashMap::new(),
            old_left: Duration::ZERO,
            own: Own::default(),
            strays: HashSet::new(),
            relays: Relays::default(),
            record: None,
            touched: TouchedRows::default(),
        }
    }

    /// The epoch of the last snapshot, 0 before the first.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The version up to which every change is in.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Takes in one change. What is known already, or is older than what is known, changes nothing.
    pub(crate) fn apply(&mut self, change: Change) {
        let Change { version, what } = change;
        if version <= self.floor {
            return;
        }
        match what {
            ChangeKind::Row(row) if self.is_news(&row.endpoint, version) => self.set_row(version, row),
            ChangeKind::Gone(endpoint) if self.is_news(&endpoint, version) => {
                self.gone.insert(endpoint.clone(), version);
                self.rows.remove(&endpoint);
                self.touch(endpoint);
            }
            ChangeKind::Beat(record) => {
                let relay = record.relay.clone();
                if self.relays.beat(version, record) {
                    self.touch_rows_of(&relay);
                }
                self.touched.relays = true;
            }
            ChangeKind::Left(relay) => {
                self.relays.left(version, &relay);
                self.touch_rows_of(&relay);
                self.touched.relays = true;
            }
            ChangeKind::Row(_) | ChangeKind::Gone(_) | ChangeKind::Unreadable => {}
        }
    }

    /// Takes in the next change of the stream: everything up to its version is known then.
    pub(crate) fn follow(&mut self, change: Change) {
        let version = change.version;
        self.apply(change);
        self.floor = self.floor.max(version);
        let floor = self.floor;
        self.gone.retain(|_, version| *version > floor);
    }

    fn is_news(&self, endpoint: &Endpoint, version: u64) -> bool {
        let known = self.rows.get(endpoint).map(|(version, _)| version).max(self.gone.get(endpoint));
        known.is_none_or(|known| *known < version)
    }

    fn set_row(&mut self, version: u64, mut row: Row) {
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&row.endpoint) {
            return;
        }
        row.sessions.truncate(MAX_SESSIONS);
        for session in &row.sessions {
            self.relays.mention(&session.relay);
        }
        // Once the registry knows a session again, it alone says when the session goes.
        if let Some(old) = self.old.get_mut(&row.endpoint) {
            old.sessions.retain(|session| !row.sessions.contains(session));
            if old.sessions.is_empty() || old.generation < row.generation {
                self.old.remove(&row.endpoint);
            }
        }
        let endpoint = row.endpoint.clone();
        self.gone.remove(&endpoint);
        self.rows.insert(endpoint.clone(), (version, row));
        self.touch(endpoint);
    }

    /// Begins to put the registry's whole content in the place of what was known of it.
    ///
    /// What was known stays in view until [`State::end_restart`].
    pub(crate) fn begin_restart(&mut self, epoch: u64, version: u64, relays: Vec<(u64, RelayRecord)>) {
        if epoch == self.epoch {
            self.rows.values_mut().for_each(|(version, _)| *version = UNCONFIRMED);
        } else {
            // This changes no view: old rows count as those of the registry do, while it says nothing else.
            for (endpoint, (_, row)) in mem::take(&mut self.rows) {
                self.keep_as_old(endpoint, row);
            }
            self.strays.clear();
        }
        self.old_left = RELAY_TTL;
        self.relays.restart(relays);
        self.touched.relays = true;
        self.gone.clear();
        self.epoch = epoch;
        self.floor = version;
    }

    /// Takes in rows of the registry's whole content, after [`State::begin_restart`].
    pub(crate) fn add_rows(&mut self, rows: impl IntoIterator<Item = (u64, Row)>) {
        for (version, row) in rows {
            if self.is_news(&row.endpoint, version) {
                self.set_row(version, row);
            }
        }
    }

    /// Drops what was not among the added rows.
    pub(crate) fn end_restart(&mut self) {
        let touched = &mut self.touched.endpoints;
        self.rows.retain(|endpoint, (version, _)| {
            let is_confirmed = *version != UNCONFIRMED;
            if !is_confirmed {
                touched.insert(endpoint.clone());
            }
            is_confirmed
        });
    }

    fn keep_as_old(&mut self, endpoint: Endpoint, mut row: Row) {
        row.sessions.retain(|session| session.relay != self.me);
        if let Some(older) = self.old.get(&endpoint) {
            if older.generation > row.generation {
                return;
            }
            if same_owner(older, &row) {
                row.sessions.extend(older.sessions.iter().cloned());
                tidy(&mut row.sessions);
            }
        }
        if !row.sessions.is_empty() {
            self.old.insert(endpoint, row);
        }
    }

    /// Lets time pass during which the registry could be heard.
    pub(crate) fn pass(&mut self, time: Duration) {
        let lost = self.relays.pass(time, &self.me);
        for relay in lost {
            self.touch_rows_of(&relay);
            self.touched.relays = true;
        }
        self.old_left = self.old_left.saturating_sub(time);
        if self.old_left.is_zero() && !self.old.is_empty() {
            let old = mem::take(&mut self.old);
            self.touched.endpoints.extend(old.into_keys());
        }
        let (rows, old) = (&self.rows, &self.old);
        self.relays.tidy(|relay| {
            let holds = |row: &Row| row.sessions.iter().any(|session| session.relay == *relay);
            rows.values().any(|(_, row)| holds(row)) || old.values().any(holds)
        });
    }

    /// The relays that were not heard of for too long, with the endpoints that the registry still says they serve.
    pub(crate) fn lost(&self) -> Vec<(RelayId, Vec<Endpoint>)> {
        let endpoints = |relay: &RelayId| {
            let holds = |row: &Row| row.sessions.iter().any(|session| session.relay == *relay);
            self.rows
                .iter()
                .filter(|(_, (_, row))| holds(row))
                .map(|(endpoint, _)| endpoint.clone())
                .collect()
        };
        self.relays.lost().map(|relay| (relay.clone(), endpoints(relay))).collect()
    }

    /// The healthy relays in order of their ids.
    pub(super) fn healthy(&self) -> Vec<RelayRecord> {
        let mut healthy = self.relays.healthy();
        if let Some(record) = &self.record {
            match healthy.binary_search_by(|other| other.relay.cmp(&record.relay)) {
                Ok(place) => healthy[place] = record.clone(),
                Err(place) => healthy.insert(place, record.clone()),
            }
        }
        healthy
    }

    /// What this relay says of itself, or that it has left.
    pub(crate) fn set_record(&mut self, record: Option<RelayRecord>) {
        self.record = record;
        self.touched.relays = true;
    }

    pub(super) fn take_touched(&mut self) -> TouchedRows {
        mem::take(&mut self.touched)
    }

    /// What requests see of an endpoint: the row of its greatest generation with the sessions that can be reached.
    pub(super) fn view(&mut self, endpoint: &Endpoint) -> Option<Row> {
        self.note_strays(endpoint);
        let of_registry = self.rows.get(endpoint);
        let of_old = self.old.get(endpoint);
        let own = self.own.row(endpoint);
        let candidates = [of_registry.map(|(_, row)| row), of_old, own.as_ref()];
        // `max_by_key` would take the last of equals; the registry's comes first.
        let winner = candidates
            .into_iter()
            .flatten()
            .reduce(|best, next| if next.generation > best.generation { next } else { best })?;
        let mut view = Row { sessions: Vec::new(), ..winner.clone() };
        if let Some((version, row)) = of_registry.filter(|(_, row)| same_owner(row, winner)) {
            view.sessions.extend(self.reachable(row, *version));
        }
        if let Some(row) = of_old.filter(|row| same_owner(row, winner)) {
            view.sessions.extend(self.reachable(row, 0));
        }
        if let Some(row) = own.as_ref().filter(|row| same_owner(row, winner)) {
            view.sessions.extend(row.sessions.iter().cloned());
        }
        tidy(&mut view.sessions);
        (!view.sessions.is_empty()).then_some(view)
    }

    /// The sessions of other relays that are not lost.
    fn reachable<'a>(&'a self, row: &'a Row, version: u64) -> impl Iterator<Item = RowSession> + 'a {
        row.sessions
            .iter()
            .filter(move |session| session.relay != self.me && self.relays.is_there(&session.relay, version))
            .cloned()
    }

    fn note_strays(&mut self, endpoint: &Endpoint) {
        let own = &self.own;
        let is_stray =
            |session: &RowSession| session.relay == self.me && !own.has(endpoint, &session.session);
        let any = self.rows.get(endpoint).is_some_and(|(_, row)| row.sessions.iter().any(is_stray));
        if any {
            self.strays.insert(endpoint.clone());
        } else {
            self.strays.remove(endpoint);
        }
    }

    fn touch(&mut self, endpoint: Endpoint) {
        self.touched.endpoints.insert(endpoint);
    }

    fn touch_rows_of(&mut self, relay: &RelayId) {
        let holds = |row: &Row| row.sessions.iter().any(|session| session.relay == *relay);
        let rows = self.rows.iter().filter(|(_, (_, row))| holds(row)).map(|(endpoint, _)| endpoint);
        let old = self.old.iter().filter(|(_, row)| holds(row)).map(|(endpoint, _)| endpoint);
        self.touched.endpoints.extend(rows.chain(old).cloned());
    }
}

fn same_owner(a: &Row, b: &Row) -> bool {
    a.generation == b.generation && a.account == b.account && a.instance == b.instance
}

fn tidy(sessions: &mut Vec<RowSession>) {
    sessions.sort_unstable();
    sessions.dedup();
    sessions.truncate(MAX_SESSIONS);
}

#[cfg(test)]
mod tests;
