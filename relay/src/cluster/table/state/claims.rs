//! The claims of this relay's sessions: asked for, settled, released.

use super::{
    State,
    own::{BeatPlan, Release},
};
use crate::cluster::row::{Claim, RowSession};
use adit_protocol::Endpoint;

/// Number of heartbeats without a claim after which it counts as released.
const MAX_MISSES: u8 = 3;

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
