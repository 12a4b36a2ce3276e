//! The registry in this process.
//!
//! A standalone relay has one to itself. Several relays of one process share one by [`Memory::join`]: each has its own
//! table then, and what one says reaches the tables of the others before the call returns.

use super::{
    BEAT_INTERVAL, Claim, ClaimError, RegistryError,
    claims::{ClaimDecision, PendingClaim, decide, without},
};
use crate::cluster::table::{
    BeatPlan, Change, ChangeKind, MAX_RELAYS, MAX_ROWS, RelayRecord, Release, Row, Table,
};
use adit_protocol::{Endpoint, RelayId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

/// One relay's view of a registry in this process.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    hub: Arc<Mutex<Hub>>,
    table: Arc<Table>,
    me: RelayId,
    last_beat: Arc<Mutex<Instant>>,
}

/// What the relays of one process share.
#[derive(Debug, Default)]
struct Hub {
    version: u64,
    rows: HashMap<Endpoint, (u64, Row)>,
    relays: HashMap<RelayId, (u64, RelayRecord)>,
    tables: Vec<Weak<Table>>,
}

impl Memory {
    /// A registry for the relay `me`, which no other relay shares yet.
    pub(crate) fn new(me: &RelayId) -> Self {
        Self::with(Arc::default(), me)
    }

    /// The same registry for another relay of this process.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn join(&self, me: &RelayId) -> Self {
        Self::with(Arc::clone(&self.hub), me)
    }

    fn with(hub: Arc<Mutex<Hub>>, me: &RelayId) -> Self {
        let table = Table::new(me.clone());
        lock(&hub).add(&table);
        Self { hub, table, me: me.clone(), last_beat: Arc::new(Mutex::new(Instant::now())) }
    }

    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(super) fn claim(&self, claim: &Claim) -> Result<(), ClaimError> {
        let pending = PendingClaim::begin(&self.table, claim)?;
        lock(&self.hub).claim(claim)?;
        pending.settle();
        Ok(())
    }

    pub(super) fn release(&self, claim: &Claim) {
        if self.table.update(|state| state.forget(claim)) {
            lock(&self.hub).release(&claim.into());
        }
    }

    pub(super) fn beat(&self, record: &RelayRecord, claims: &[Claim]) -> Result<(), RegistryError> {
        let now = Instant::now();
        let before = std::mem::replace(&mut *lock(&self.last_beat), now);
        // A process that was stopped has not listened meanwhile, so that one beat lets no more than its time pass.
        let passed = now.duration_since(before).min(BEAT_INTERVAL);
        let (plan, lost) = self.table.update(|state| {
            state.set_record(Some(record.clone()));
            state.pass(passed);
            (state.plan(claims), state.lost())
        });
        let mut hub = lock(&self.hub);
        hub.beat(record)?;
        let BeatPlan { announce, release } = plan;
        for claim in &announce {
            // A refusal has changed the table, where the session's holder sees it.
            let _ = hub.claim(claim);
        }
        for release in &release {
            hub.release(release);
        }
        for (relay, endpoints) in &lost {
            hub.reap(relay, endpoints);
        }
        Ok(())
    }

    pub(super) fn leave(&self) {
        let endpoints = self.table.update(|state| {
            state.set_record(None);
            state.clear()
        });
        lock(&self.hub).reap(&self.me, &endpoints);
    }
}

impl Hub {
    fn add(&mut self, table: &Arc<Table>) {
        let relays = self.relays.values().cloned().collect();
        table.update(|state| {
            state.begin_restart(1, self.version, relays);
            state.add_rows(self.rows.values().cloned());
            state.end_restart();
        });
        self.tables.retain(|table| table.strong_count() > 0);
        self.tables.push(Arc::downgrade(table));
    }

    fn tell(&mut self, what: ChangeKind) -> u64 {
        self.version += 1;
        let change = Change { version: self.version, what };
        for table in self.tables.iter().filter_map(Weak::upgrade) {
            table.update(|state| state.follow(change.clone()));
        }
        self.version
    }

    fn set_row(&mut self, row: Row) {
        let version = self.tell(ChangeKind::Row(row.clone()));
        self.rows.insert(row.endpoint.clone(), (version, row));
    }

    fn claim(&mut self, claim: &Claim) -> Result<(), ClaimError> {
        let current = self.rows.get(&claim.endpoint).map(|(_, row)| row);
        if current.is_none() && self.rows.len() >= MAX_ROWS {
            return Err(ClaimError::Full);
        }
        match decide(current, claim) {
            ClaimDecision::Row(row) => self.set_row(row),
            ClaimDecision::Same => {}
            ClaimDecision::Stale { generation } => return Err(ClaimError::Stale { generation }),
            ClaimDecision::Full => return Err(ClaimError::Full),
        }
        Ok(())
    }

    fn release(&mut self, release: &Release) {
        let Some((_, row)) = self.rows.get(&release.endpoint) else { return };
        if row.generation != release.generation
            || !row.sessions.iter().any(|session| session.session == release.session)
        {
            return;
        }
        match without(row, release) {
            Some(row) => self.set_row(row),
            None => self.drop_row(&release.endpoint),
        }
    }

    fn drop_row(&mut self, endpoint: &Endpoint) {
        self.rows.remove(endpoint);
        self.tell(ChangeKind::Gone(endpoint.clone()));
    }

    fn beat(&mut self, record: &RelayRecord) -> Result<(), RegistryError> {
        if self.relays.len() >= MAX_RELAYS && !self.relays.contains_key(&record.relay) {
            return Err(RegistryError::TooManyRelays { limit: MAX_RELAYS });
        }
        let version = self.tell(ChangeKind::Beat(record.clone()));
        self.relays.insert(record.relay.clone(), (version, record.clone()));
        Ok(())
    }

    /// Takes a relay and its sessions out.
    fn reap(&mut self, relay: &RelayId, endpoints: &[Endpoint]) {
        for endpoint in endpoints {
            let Some((_, row)) = self.rows.get(endpoint) else { continue };
            let mut left = row.clone();
            left.sessions.retain(|session| session.relay != *relay);
            if left.sessions.len() == row.sessions.len() {
                continue;
            }
            if left.sessions.is_empty() {
                self.drop_row(endpoint);
            } else {
                self.set_row(left);
            }
        }
        self.relays.remove(relay);
        self.tell(ChangeKind::Left(relay.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
