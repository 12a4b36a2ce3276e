//! Events about the client's state and its sessions.

use super::SessionManager;
use crate::{
    event::{ClientState, EventKind, SessionState},
    problem::Problem,
    published::time_at,
    session::SessionKey,
};
use std::time::Duration;
use tokio::time::Instant;

/// After this time without a session the client is offline rather than reconnecting.
const OFFLINE_AFTER: Duration = Duration::from_secs(10);

impl SessionManager {
    pub(super) fn report_end(&mut self, problem: &Problem) {
        match problem.code.as_str() {
            "suspended" => self.report_state(ClientState::Suspended, problem.why.clone(), None),
            "upgrade_required" => self.report_state(ClientState::UpgradeRequired, problem.why.clone(), None),
            _ => {}
        }
        self.context.event_queue.send(EventKind::Error(problem.clone().fatal()));
    }

    pub(super) fn report_session(&mut self, key: SessionKey, state: SessionState, reason: Option<String>) {
        if let Some(up) = self.managed.get_mut(&key).and_then(|session| session.up.as_mut()) {
            up.shown.state = state;
            up.shown.reason = reason;
            self.context.event_queue.send(EventKind::SessionState(up.shown.clone()));
        }
    }

    pub(super) fn report_retry(&mut self, reason: String) {
        let retry_at = self.plan.next_dial(Instant::now());
        let state = match (self.disconnected_since, self.was_connected) {
            (None, _) => ClientState::Reconnecting,
            (Some(since), _) if since.elapsed() >= OFFLINE_AFTER => ClientState::Offline,
            (_, true) => ClientState::Reconnecting,
            (_, false) => ClientState::Connecting,
        };
        self.report_state(state, Some(reason), retry_at);
    }

    pub(super) fn report_state(
        &mut self,
        state: ClientState,
        reason: Option<String>,
        retry_at: Option<Instant>,
    ) {
        let told = (state, reason.clone());
        if retry_at.is_none() && self.reported_state.as_ref() == Some(&told) {
            return;
        }
        self.reported_state = Some(told);
        let retry_at = retry_at.map(time_at);
        self.context.event_queue.send(EventKind::ClientState { state, reason, retry_at });
    }

    pub(super) fn with_facts(&self, problem: Problem) -> Problem {
        problem.with("region", self.context.dialer.relay.domain()).with("version", crate::version::VERSION)
    }
}
