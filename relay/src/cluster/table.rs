//! The region's whole table: which endpoint is served by whom, and which relays there are.
//!
//! Every request reads it, so it is in memory as a whole and reading takes no lock: the rows are spread over shards
//! that are swapped as a whole at each change. The [`Registry`](crate::cluster::registry::Registry) keeps it up to date.

mod accounts;
mod shards;
mod state;

pub(crate) use super::row::{MAX_RELAYS, MAX_ROWS, MAX_SESSIONS, RELAY_TTL, RelayRecord, Row, RowSession};
use accounts::Accounts;
use adit_protocol::{Account, Endpoint, RelayId};
use arc_swap::ArcSwap;
use shards::Shards;
use state::TouchedRows;
pub(crate) use state::{BeatPlan, Change, ChangeKind, Release, State};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The region's table as this relay knows it.
///
/// What this relay's own sessions serve is in it whatever the registry says, unless another owner has superseded it.
#[derive(Debug)]
pub(crate) struct Table {
    shards: Shards,
    accounts: Accounts,
    relays: ArcSwap<Vec<RelayRecord>>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Table {
    /// An empty table of the relay `me`.
    pub(crate) fn new(me: RelayId) -> Arc<Self> {
        Arc::new(Self {
            shards: Shards::default(),
            accounts: Accounts::default(),
            relays: ArcSwap::default(),
            state: Mutex::new(State::new(me)),
            changed: watch::Sender::new(0),
        })
    }

    /// The row of an endpoint. Takes no lock.
    pub(crate) fn row(&self, endpoint: &Endpoint) -> Option<Arc<Row>> {
        self.shards.row(endpoint)
    }

    /// How many endpoints the account has in the region.
    pub(crate) fn rows_of(&self, account: &Account) -> usize {
        self.accounts.of(account).rows
    }

    /// How many sessions serve the account's endpoints in the region; one that serves two endpoints counts twice.
    pub(crate) fn sessions_of(&self, account: &Account) -> usize {
        self.accounts.of(account).sessions
    }

    /// How many endpoints the region has.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> usize {
        self.accounts.rows()
    }

    /// The healthy relays in order of their ids, draining ones and this one with them.
    pub(crate) fn relays(&self) -> Arc<Vec<RelayRecord>> {
        self.relays.load_full()
    }

    /// Notes every change of a row, and of which relays there are, where they are and whether they drain.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Reads the state without a change.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state and shows the readers what has become of it.
    pub(crate) fn update<T>(&self, update: impl FnOnce(&mut State) -> T) -> T {
        // A panic in between leaves a state that the next snapshot replaces, so that a poisoned lock is no reason to stop.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = update(&mut state);
        self.publish(&mut state);
        result
    }

    fn publish(&self, state: &mut State) {
        let TouchedRows { endpoints, relays } = state.take_touched();
        let mut changed = false;
        if !endpoints.is_empty() {
            let views = endpoints.into_iter().map(|endpoint| {
                let view = state.view(&endpoint);
                (endpoint, view)
            });
            changed = self.shards.replace(views, |before, after| self.accounts.note(before, after));
        }
        if relays {
            let now = state.healthy();
            let before = self.relays.swap(Arc::new(now.clone()));
            changed |= !same_relays(&before, &now);
        }
        if changed {
            self.changed.send_modify(|count| *count += 1);
        }
    }
}

/// Whether two lists differ in load alone.
fn same_relays(before: &[RelayRecord], after: &[RelayRecord]) -> bool {
    let same =
        |a: &RelayRecord, b: &RelayRecord| a.relay == b.relay && a.peer == b.peer && a.draining == b.draining;
    before.len() == after.len() && before.iter().zip(after).all(|(a, b)| same(a, b))
}
