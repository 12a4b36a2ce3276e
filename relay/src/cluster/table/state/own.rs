//! What this relay's own sessions serve, and how it differs from what the registry says of them.

use super::{Row, RowSession, State};
use crate::cluster::registry::Claim;
use adit_protocol::{Endpoint, SessionId};
use std::collections::HashMap;

/// After so many beats that do not list it, a claim that was never released is taken for forgotten.
const MAX_MISSES: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct Own(HashMap<Endpoint, Vec<HeldSession>>);

#[derive(Debug)]
struct HeldSession {
    claim: Claim,
    /// The registry has been asked and has not answered yet: not shown, but no stray either.
    pending: bool,
    /// Beats in a row that did not list it.
    misses: u8,
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

    fn find(&mut self, claim: &Claim) -> Option<&mut HeldSession> {
        self.0.get_mut(&claim.endpoint)?.iter_mut().find(|held| held.claim.session == claim.session)
    }

    /// Holds the claim in the place of what its session held of the endpoint. What it holds already stays settled.
    fn put(&mut self, claim: &Claim, pending: bool) {
        if let Some(held) = self.find(claim) {
            held.pending = pending && (held.pending || held.claim != *claim);
            held.claim = claim.clone();
            held.misses = 0;
        } else {
            let held = HeldSession { claim: claim.clone(), pending, misses: 0 };
            self.0.entry(claim.endpoint.clone()).or_default().push(held);
        }
    }

    fn remove_if(&mut self, endpoint: &Endpoint, mut condition: impl FnMut(&HeldSession) -> bool) -> bool {
        let Some(held) = self.0.get_mut(endpoint) else { return false };
        let before = held.len();
        held.retain(|held| !condition(held));
        let removed = held.len() < before;
        if held.is_empty() {
            self.0.remove(endpoint);
        }
        removed
    }

    fn live(&self) -> impl Iterator<Item = &Claim> {
        self.0.values().flatten().filter(|held| !held.pending).map(|held| &held.claim)
    }
}

impl State {
    /// The generation of an owner that goes before the claim's, where one is known.
    pub(crate) fn superseded(&self, claim: &Claim) -> Option<u64> {
        let row = self.rows.get(&claim.endpoint).map(|(_, row)| row);
        let known = row.into_iter().chain(self.old.get(&claim.endpoint));
        known.filter(|row| row.supersedes(claim)).map(|row| row.generation).max()
    }

    /// The registry is about to be asked.
    pub(crate) fn begin(&mut self, claim: &Claim) {
        self.own.put(claim, true);
    }

    /// The claim holds: its session serves the endpoint from now on.
    pub(crate) fn settle(&mut self, claim: &Claim) {
        self.own.put(claim, false);
        self.touch(claim.endpoint.clone());
    }

    /// The registry has refused the claim, or has not answered: then it may hold there, as a stray.
    pub(crate) fn abandon(&mut self, claim: &Claim) {
        if self.own.remove_if(&claim.endpoint, |held| held.pending && held.claim == *claim) {
            self.touch(claim.endpoint.clone());
        }
    }

    /// The session no longer serves the endpoint. False when it serves it by another claim since.
    pub(crate) fn forget(&mut self, claim: &Claim) -> bool {
        self.own.remove_if(&claim.endpoint, |held| held.claim == *claim);
        self.touch(claim.endpoint.clone());
        !self.own.has(&claim.endpoint, &claim.session)
    }

    /// Takes `claims` for all that this relay's sessions serve, and compares it with what the registry says.
    pub(crate) fn plan(&mut self, claims: &[Claim]) -> BeatPlan {
        for held in self.own.0.values_mut().flatten().filter(|held| !held.pending) {
            held.misses += 1;
        }
        for claim in claims {
            match self.own.find(claim) {
                Some(held) if held.claim == *claim => held.misses = 0,
                Some(_) => {}
                None => self.settle(claim),
            }
        }
        let forgotten: Vec<_> = self
            .own
            .0
            .values()
            .flatten()
            .filter(|held| held.misses >= MAX_MISSES)
            .map(|held| held.claim.clone())
            .collect();
        for claim in forgotten {
            self.forget(&claim);
        }
        BeatPlan { announce: self.missing(), release: self.strays() }
    }

    /// Gives up everything that is served here, and returns where the registry has sessions of this relay.
    pub(crate) fn clear(&mut self) -> Vec<Endpoint> {
        for endpoint in std::mem::take(&mut self.own.0).into_keys() {
            self.touch(endpoint);
        }
        let rows = self.rows.iter();
        let mine = rows.filter(|(_, (_, row))| row.sessions.iter().any(|session| session.relay == self.me));
        mine.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// Everything that is served here, whether the registry has it or not.
    pub(crate) fn live(&self) -> Vec<Claim> {
        self.own.live().filter(|claim| self.superseded(claim).is_none()).cloned().collect()
    }

    fn missing(&self) -> Vec<Claim> {
        let is_known = |claim: &&Claim| {
            self.rows
                .get(&claim.endpoint)
                .is_some_and(|(_, row)| row.is_of(claim) && row.sessions.contains(&claim.row_session()))
        };
        let missing = self.own.live().filter(|claim| !is_known(claim));
        missing.filter(|claim| self.superseded(claim).is_none()).cloned().collect()
    }

    fn strays(&self) -> Vec<Release> {
        let rows = self.strays.iter().filter_map(|endpoint| self.rows.get(endpoint));
        rows.flat_map(|(_, row)| {
            let stray = |session: &&RowSession| {
                session.relay == self.me && !self.own.has(&row.endpoint, &session.session)
            };
            row.sessions.iter().filter(stray).map(|session| Release {
                endpoint: row.endpoint.clone(),
                session: session.session.clone(),
                generation: row.generation,
            })
        })
        .collect()
    }
}
