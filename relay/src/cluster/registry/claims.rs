//! What a claim does, as pure decisions, and how it passes through this relay's own table.

use super::{Claim, ClaimError};
use crate::cluster::table::{MAX_SESSIONS, Release, Row, Table};
use std::sync::Arc;

/// The outcome of a claim for a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimDecision {
    /// The new row.
    Row(Row),
    /// The session is in the row already.
    Same,
    /// Another owner goes before.
    Stale { generation: u64 },
    /// The row has as many sessions as it can have.
    Full,
}

/// Decides on a claim. The scripts in Redis decide alike, to which the contract holds both.
pub(super) fn decide(current: Option<&Row>, claim: &Claim) -> ClaimDecision {
    let Some(row) = current else { return ClaimDecision::Row(claim.row()) };
    if row.supersedes(claim) {
        return ClaimDecision::Stale { generation: row.generation };
    }
    if row.generation < claim.generation {
        return ClaimDecision::Row(claim.row());
    }
    let session = claim.row_session();
    let is_in = row.sessions.contains(&session);
    if is_in && row.tunnel == claim.tunnel && row.options == claim.options {
        return ClaimDecision::Same;
    }
    if !is_in && row.sessions.len() >= MAX_SESSIONS {
        return ClaimDecision::Full;
    }
    let mut row = Row { tunnel: claim.tunnel.clone(), options: claim.options.clone(), ..row.clone() };
    if !is_in {
        row.sessions.push(session);
        row.sessions.sort_unstable();
    }
    ClaimDecision::Row(row)
}

/// The row without the session; `None` when it has no other.
pub(super) fn without(row: &Row, release: &Release) -> Option<Row> {
    let mut row = row.clone();
    row.sessions.retain(|session| session.session != release.session);
    (!row.sessions.is_empty()).then_some(row)
}

/// Puts a claim into the relay's own table without asking the registry.
pub(super) fn admit(table: &Table, claim: &Claim) -> Result<(), ClaimError> {
    table.update(|state| {
        if let Some(generation) = state.superseded(claim) {
            return Err(ClaimError::Stale { generation });
        }
        state.settle(claim);
        Ok(())
    })
}

/// A claim about which the registry is asked. Unless it is settled, it is taken back when this is dropped.
#[derive(Debug)]
pub(super) struct PendingClaim<'a> {
    table: &'a Arc<Table>,
    claim: &'a Claim,
    settled: bool,
}

impl<'a> PendingClaim<'a> {
    /// Begins a claim, unless this relay knows already of an owner that goes before.
    pub(super) fn begin(table: &'a Arc<Table>, claim: &'a Claim) -> Result<Self, ClaimError> {
        table.update(|state| {
            if let Some(generation) = state.superseded(claim) {
                return Err(ClaimError::Stale { generation });
            }
            state.begin(claim);
            Ok(())
        })?;
        Ok(Self { table, claim, settled: false })
    }

    /// The registry has agreed.
    pub(super) fn settle(mut self) {
        self.settled = true;
        self.table.update(|state| state.settle(self.claim));
    }
}

impl Drop for PendingClaim<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.table.update(|state| state.abandon(self.claim));
        }
    }
}
