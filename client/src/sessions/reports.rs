//! Handles the reports of dials and sessions.

use super::{
    LEAVE_DELAY, MAX_PENDING_RETRIES, OpenSession, SessionManager,
    plan::SearchOutcome,
    probe::probe_services,
    refusal::{self, MAX_RETRY_DELAY, RefusalAction},
};
use crate::{
    dial::DialError,
    event::{self, ClientState, EventKind, SessionState},
    identity::PresentedProof,
    problem::Problem,
    published::LIMITED_DURATION,
    session::{Report, SessionCommand, SessionEnd, SessionKey},
};
use adit_protocol::{Code, HelloRedirect, HelloRefusal, ToClient, Welcome};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// A change of latency is reported if it is larger than this, and than a fourth of the last one.
const LATENCY_STEP_MS: u64 = 3;
/// A tunnel that is refused for now is not asked for again before this time.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);

impl SessionManager {
    pub(super) fn handle_report(&mut self, key: SessionKey, report: Report) -> Result<(), Problem> {
        match report {
            Report::Failed(error) => self.dial_failed(key, error),
            Report::Elsewhere(elsewhere) => {
                self.managed.remove(&key);
                self.dial_answered_elsewhere(key, &elsewhere);
                Ok(())
            }
            Report::Refused(refused, presented) => self.dial_refused(key, &refused, &presented),
            Report::Began(welcome, commands) => {
                self.session_began(key, &welcome, commands);
                Ok(())
            }
            Report::Message(message) => {
                self.handle_message(key, message);
                Ok(())
            }
            Report::Latency(round_trip) => {
                self.record_latency(key, round_trip);
                Ok(())
            }
            Report::NotRenewed(problem) => {
                let problem = self.with_facts(*problem);
                self.context.event_queue.send(EventKind::Notice(problem));
                Ok(())
            }
            Report::Ended(end) => self.session_ended(key, end),
        }
    }

    fn dial_failed(&mut self, key: SessionKey, error: DialError) -> Result<(), Problem> {
        self.managed.remove(&key);
        let now = Instant::now();
        self.plan.dial_failed(key, now, None);
        tracing::debug!(reason = error.reason(), "dial failed");
        if error.is_final() && !self.was_connected {
            return Err(self.with_facts(error.problem(&self.context.dialer.relay)));
        }
        self.report_retry(error.reason());
        self.last_error = Some(error);
        Ok(())
    }

    fn dial_answered_elsewhere(&mut self, key: SessionKey, elsewhere: &HelloRedirect) {
        match self.plan.dial_answered_elsewhere(key, elsewhere, Instant::now()) {
            SearchOutcome::GoesOn => {}
            SearchOutcome::Ended => self.report_connected(),
            SearchOutcome::InVain => {
                let reason = "single-homed: no second relay answers".to_owned();
                self.report_state(ClientState::Connected, Some(reason), None);
            }
        }
    }

    /// The client is connected if it has all the relays that it should have.
    fn report_connected(&mut self) {
        if self.plan.is_served() && self.plan.has_enough_relays() {
            self.report_state(ClientState::Connected, None, None);
        }
    }

    fn dial_refused(
        &mut self,
        key: SessionKey,
        refused: &HelloRefusal,
        presented: &PresentedProof,
    ) -> Result<(), Problem> {
        self.managed.remove(&key);
        let now = Instant::now();
        let has_token = self.context.identity.has_token();
        match refusal::action_after(refused, presented.is_credential() && has_token) {
            RefusalAction::UseToken => {
                self.context.identity.forget_credential();
                self.plan.dial_dropped(key);
            }
            RefusalAction::Retry(after) => {
                self.plan.dial_failed(key, now, after);
                self.report_retry(refused.message.clone());
            }
            RefusalAction::Final => {
                self.plan.dial_dropped(key);
                let problem = self.with_facts(refusal::problem_of(
                    refused,
                    &presented.claims(),
                    adit_system::clock::now(),
                ));
                if !self.plan.is_served() {
                    return Err(problem);
                }
                if refused.code == Code::TooManySessions {
                    // The account's limit of sessions is reached: the client makes do with those that it has.
                    self.plan.stop_dialling(now);
                } else {
                    self.context.event_queue.send(EventKind::Notice(problem.clone()));
                    self.final_problem = Some(problem);
                }
            }
        }
        Ok(())
    }

    fn session_began(&mut self, key: SessionKey, welcome: &Welcome, commands: mpsc::Sender<SessionCommand>) {
        let now = Instant::now();
        let first = !self.was_connected;
        (self.was_connected, self.disconnected_since, self.last_error) = (true, None, None);
        let shown = event::Session {
            session: welcome.session.clone(),
            relay: welcome.relay.clone(),
            region: welcome.region.clone(),
            state: SessionState::Connected,
            latency_ms: None,
            reason: None,
        };
        self.context.event_queue.send(EventKind::SessionState(shown.clone()));
        if let Some(session) = self.managed.get_mut(&key) {
            session.up = Some(OpenSession { commands, shown });
        }
        for refused in &welcome.refused {
            self.tunnel_refused(key, refused);
        }
        for left in self.plan.session_began(key, welcome, now) {
            // A surplus session serves nothing that others do not: it may leave at once.
            let at = if left == key { now } else { now + LEAVE_DELAY };
            self.leaving.push((at, left));
        }
        self.report_connected();
        if first {
            self.report_state(ClientState::Connected, None, None);
            self.lanes[0].spawn(probe_services(self.context.clone()));
        }
    }

    fn tunnel_refused(&mut self, key: SessionKey, refused: &adit_protocol::RefusedTunnel) {
        let Some(tunnel) = self.context.tunnel(&refused.tunnel) else { return };
        let after = refused
            .retry_after_ms
            .map(|ms| Duration::from_millis(ms).clamp(MIN_RETRY_DELAY, MAX_RETRY_DELAY));
        tunnel.refuse(refused.code, &refused.message, after);
        if let Some(at) = after.map(|after| Instant::now() + after).or(tunnel.retry_at())
            && self.retries.len() < MAX_PENDING_RETRIES
        {
            self.retries.push((at, key, refused.tunnel.clone()));
        }
    }

    fn handle_message(&mut self, key: SessionKey, message: ToClient) {
        match message {
            ToClient::Move { .. } => {
                self.plan.session_moves(key);
                self.report_session(key, SessionState::Moving, Some("relay drains".into()));
            }
            ToClient::Refused(refused) => self.tunnel_refused(key, &refused),
            ToClient::Closed { tunnel, code, message } => {
                if let Some(tunnel) = self.context.tunnel(&tunnel) {
                    tunnel.close(code, &message);
                }
            }
            ToClient::Limited { code, limit, refused } => self.limit_reached(code, limit, refused),
            ToClient::Relays { relays } => self.plan.set_relay_count(relays, Instant::now()),
            _ => {}
        }
    }

    fn limit_reached(&self, code: Code, limit: u64, refused: u64) {
        let problem = Problem::new(code.as_str()).with("limit", limit).with("refused", refused);
        let open: Vec<_> = self.context.tunnels.iter().filter(|tunnel| tunnel.is_open()).cloned().collect();
        for tunnel in &open {
            tunnel.set_limited(code, &problem.message);
        }
        self.context.event_queue.send(EventKind::Notice(problem));
        self.lanes[0].spawn(async move {
            sleep(LIMITED_DURATION).await;
            open.iter().for_each(|tunnel| tunnel.refresh());
        });
    }

    fn record_latency(&mut self, key: SessionKey, round_trip: Duration) {
        let Some(up) = self.managed.get_mut(&key).and_then(|session| session.up.as_mut()) else { return };
        let ms = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        let changed = up.shown.latency_ms.is_none_or(|old| ms.abs_diff(old) > LATENCY_STEP_MS.max(old / 4));
        if changed {
            up.shown.latency_ms = Some(ms);
            self.context.event_queue.send(EventKind::SessionState(up.shown.clone()));
        }
    }

    pub(super) fn session_ended(&mut self, key: SessionKey, end: SessionEnd) -> Result<(), Problem> {
        let now = Instant::now();
        let reason = match &end {
            SessionEnd::Left => "left".to_owned(),
            SessionEnd::Closed(Code::Draining, ..) => "relay drains".to_owned(),
            SessionEnd::Closed(code, message, _) => format!("{message} [{code}]"),
            SessionEnd::Lost(why) => why.clone(),
        };
        self.report_session(key, SessionState::Closed, Some(reason.clone()));
        self.managed.remove(&key);
        self.retries.retain(|(_, of, _)| *of != key);
        self.leaving.retain(|(_, of)| *of != key);
        let missed = self.plan.session_ended(key, now);
        let last = [Code::Replaced, Code::Suspended, Code::UpgradeRequired];
        if let SessionEnd::Closed(code, message, notice) = end
            && last.contains(&code)
        {
            let mut problem = Problem::new(code.as_str()).with("message", message);
            if let Some(url) = self.context.tunnels.iter().find_map(|tunnel| tunnel.url()) {
                problem = problem.with("url", url);
            }
            if let Some(notice) = notice {
                problem = refusal::with_suspension(problem, &notice);
            }
            return Err(self.with_facts(problem));
        }
        if !self.plan.is_served() && self.disconnected_since.is_none() {
            self.disconnected_since = Some(now);
        }
        if missed {
            self.report_retry(reason);
        }
        Ok(())
    }
}
