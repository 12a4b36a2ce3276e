//! The region's whole table: which endpoint is served by whom, and which relays there are.
//!
//! Every request reads it, so it is in memory as a whole and reading takes no lock: the rows are spread over shards
//! that are swapped as a whole at each change. The [`Registry`](crate::cluster::registry::Registry) keeps it up to date.

mod accounts;
mod shards;
mod state;

use crate::cluster::registry::Claim;
use accounts::Accounts;
use adit_protocol::{Account, Endpoint, InstanceId, RelayId, SessionId, TunnelId, TunnelOptions};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use shards::Shards;
use state::TouchedRows;
pub(crate) use state::{BeatPlan, Change, ChangeKind, Release, State};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// The most endpoints that a region can have. Rows beyond it are refused, or ignored when another relay sends them.
pub(crate) const MAX_ROWS: usize = 262_144;

/// The most sessions that serve one endpoint.
pub(crate) const MAX_SESSIONS: usize = 64;

/// The most relays of a region. Relays beyond it are not used.
pub(crate) const MAX_RELAYS: usize = 1_024;

/// How long a relay that is not heard of is believed in, in time with contact to the registry.
pub(crate) const RELAY_TTL: Duration = Duration::from_secs(6);

/// One endpoint and who serves it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The public address.
    pub(crate) endpoint: Endpoint,
    /// Who owns it.
    pub(crate) account: Account,
    /// The client's run that owns it.
    pub(crate) instance: InstanceId,
    /// The store's number of this ownership: the greater one wins.
    pub(crate) generation: u64,
    /// The tunnel that streams to it name.
    pub(crate) tunnel: TunnelId,
    /// The tunnel's options.
    pub(crate) options: TunnelOptions,
    /// The sessions that serve it, in order of their ids, at most [`MAX_SESSIONS`]; never empty in the table.
    pub(crate) sessions: Vec<RowSession>,
}

/// One session of a [`Row`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowSession {
    /// The session.
    pub(crate) session: SessionId,
    /// The relay that holds it.
    pub(crate) relay: RelayId,
}

/// What a relay says of itself with every beat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelayRecord {
    /// The relay.
    pub(crate) relay: RelayId,
    /// Where other relays reach it: `host:port` of its peer listener, at most 300 bytes.
    pub(crate) peer: Option<String>,
    /// How many sessions it holds.
    pub(crate) sessions: u32,
    /// How many streams are open in them.
    pub(crate) streams: u32,
    /// It takes no new sessions and streams, and is about to leave.
    pub(crate) draining: bool,
}

impl RelayRecord {
    /// The most bytes of [`RelayRecord::peer`].
    pub(crate) const MAX_PEER_BYTES: usize = 300;
}

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

impl Row {
    /// Whether the claim is of this row's owner and ownership.
    pub(crate) fn is_of(&self, claim: &Claim) -> bool {
        self.generation == claim.generation
            && self.account == claim.account
            && self.instance == claim.instance
    }

    /// Whether this row's owner goes before the claim: by a greater generation, or by an equal one of another owner.
    pub(crate) fn supersedes(&self, claim: &Claim) -> bool {
        self.generation > claim.generation || (self.generation == claim.generation && !self.is_of(claim))
    }
}
