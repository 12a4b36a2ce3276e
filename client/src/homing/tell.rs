//! What the client's user is told of its sessions.

use super::Homing;
use crate::{
    event::{ClientState, SessionState, What},
    problem::Problem,
    session::Key,
    tunnels::time_at,
};
use std::time::Duration;
use tokio::time::Instant;

/// After this time without a session the client is offline rather than reconnecting.
const OFFLINE: Duration = Duration::from_secs(10);

impl Homing {
    pub(super) fn tell_end(&mut self, problem: &Problem) {
        match problem.code.as_str() {
            "suspended" => self.tell_state(ClientState::Suspended, problem.why.clone(), None),
            "upgrade_required" => self.tell_state(ClientState::UpgradeRequired, problem.why.clone(), None),
            _ => {}
        }
        self.shared.feed.send(What::Error(problem.clone().fatal()));
    }

    pub(super) fn tell_session(&mut self, key: Key, state: SessionState, reason: Option<String>) {
        if let Some(up) = self.live.get_mut(&key).and_then(|live| live.up.as_mut()) {
            up.shown.state = state;
            up.shown.reason = reason;
            self.shared.feed.send(What::SessionState(up.shown.clone()));
        }
    }

    pub(super) fn tell_retry(&mut self, reason: String) {
        let retry_at = self.homes.next_dial(Instant::now());
        let state = match (self.without, self.ever_up) {
            (None, _) => ClientState::Reconnecting,
            (Some(since), _) if since.elapsed() >= OFFLINE => ClientState::Offline,
            (_, true) => ClientState::Reconnecting,
            (_, false) => ClientState::Connecting,
        };
        self.tell_state(state, Some(reason), retry_at);
    }

    pub(super) fn tell_state(
        &mut self,
        state: ClientState,
        reason: Option<String>,
        retry_at: Option<Instant>,
    ) {
        let told = (state, reason.clone());
        if retry_at.is_none() && self.told.as_ref() == Some(&told) {
            return;
        }
        self.told = Some(told);
        let retry_at = retry_at.map(time_at);
        self.shared.feed.send(What::ClientState { state, reason, retry_at });
    }

    pub(super) fn with_facts(&self, problem: Problem) -> Problem {
        problem.with("region", self.shared.relay.domain()).with("version", crate::VERSION)
    }
}
