//! What this relay's own sessions serve, and how it differs from what the registry says of them.

use crate::cluster::row::{Claim, Row};
use adit_protocol::{Endpoint, SessionId};
use std::collections::HashMap;

/// The claims of this relay's sessions, by endpoint.
#[derive(Debug, Default)]
pub(super) struct Own(pub(super) HashMap<Endpoint, Vec<HeldSession>>);

/// A claim of this relay.
#[derive(Debug)]
pub(super) struct HeldSession {
    pub(super) claim: Claim,
    /// The registry has been asked and has not answered yet: not shown, but no stray either.
    pub(super) pending: bool,
    /// Beats in a row that did not list it.
    pub(super) misses: u8,
}

/// A session that no longer serves an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) endpoint: Endpoint,
    pub(crate) session: SessionId,
    pub(crate) generation: u64,
}

impl From<&Claim> for Release {
    fn from(claim: &Claim) -> Self {
        Self {
            endpoint: claim.endpoint.clone(),
            session: claim.session.clone(),
            generation: claim.generation,
        }
    }
}

/// What has to be said to the registry so that it has this relay's sessions, all and no others.
#[derive(Debug, Default)]
pub(crate) struct BeatPlan {
    pub(crate) announce: Vec<Claim>,
    pub(crate) release: Vec<Release>,
}

impl Own {
    /// The row that this relay's own sessions make: those of the greatest generation.
    pub(super) fn row(&self, endpoint: &Endpoint) -> Option<Row> {
        let live = || self.0.get(endpoint).into_iter().flatten().filter(|held| !held.pending);
        let newest = &live().max_by_key(|held| held.claim.generation)?.claim;
        let mut row = newest.row();
        row.sessions =
            live().filter(|held| row.is_of(&held.claim)).map(|held| held.claim.row_session()).collect();
        Some(row)
    }

    pub(super) fn has(&self, endpoint: &Endpoint, session: &SessionId) -> bool {
        self.0.get(endpoint).is_some_and(|held| held.iter().any(|held| held.claim.session == *session))
    }

    pub(super) fn find(&mut self, claim: &Claim) -> Option<&mut HeldSession> {
        self.0.get_mut(&claim.endpoint)?.iter_mut().find(|held| held.claim.session == claim.session)
    }

    /// Holds the claim in the place of what its session held of the endpoint. What it holds already stays settled.
    pub(super) fn put(&mut self, claim: &Claim, pending: bool) {
        if let Some(held) = self.find(claim) {
            held.pending = pending && (held.pending || held.claim != *claim);
            held.claim = claim.clone();
            held.misses = 0;
        } else {
            let held = HeldSession { claim: claim.clone(), pending, misses: 0 };
            self.0.entry(claim.endpoint.clone()).or_default().push(held);
        }
    }

    pub(super) fn remove_if(
        &mut self,
        endpoint: &Endpoint,
        mut condition: impl FnMut(&HeldSession) -> bool,
    ) -> bool {
        let Some(held) = self.0.get_mut(endpoint) else { return false };
        let before = held.len();
        held.retain(|held| !condition(held));
        let removed = held.len() < before;
        if held.is_empty() {
            self.0.remove(endpoint);
        }
        removed
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Claim> {
        self.0.values().flatten().filter(|held| !held.pending).map(|held| &held.claim)
    }
}
