//! Keeps a client's sessions with its region: which to hold, when to dial, when to give up.

mod backoff;
mod command;
mod plan;
mod probe;
mod refusal;
mod reports;
mod state_events;

use crate::{
    context::ClientContext,
    dial::{DialError, DialRequest},
    event::{self, ClientState, EventKind},
    lanes::{self, Lane},
    problem::Problem,
    session::{Report, SessionCommand, SessionEnd, SessionKey, SessionSetup},
};
use adit_protocol::{Code, ToRelay, TunnelId, hello::MAX_TUNNELS};
pub(crate) use command::ClientCommand;
use plan::{DialOrder, SessionPlan};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// The most reports of sessions that wait to be handled.
const MAX_PENDING_REPORTS: usize = 256;

/// The most refused tunnels that wait to be opened again, over all sessions.
const MAX_PENDING_RETRIES: usize = 8 * MAX_TUNNELS;

/// Time that a replaced session goes on serving, until the region's relays have learned of its successor. A draining
/// relay gives its clients at least 3 s.
const LEAVE_DELAY: Duration = Duration::from_secs(2);

/// A session from its dial to its end.
struct ManagedSession {
    cut: CancellationToken,
    up: Option<OpenSession>,
}

/// A session that a relay has welcomed.
struct OpenSession {
    commands: mpsc::Sender<SessionCommand>,
    shown: event::Session,
}

/// The task that keeps a client's sessions.
pub(crate) struct SessionManager {
    context: Arc<ClientContext>,
    lanes: Vec<Arc<Lane>>,
    /// Ends all lanes.
    stop: CancellationToken,
    plan: SessionPlan,
    managed: HashMap<SessionKey, ManagedSession>,
    next_key: SessionKey,
    reports: mpsc::Receiver<(SessionKey, Report)>,
    report: mpsc::Sender<(SessionKey, Report)>,
    /// When, and on which session, a refused tunnel is opened again.
    retries: Vec<(Instant, SessionKey, TunnelId)>,
    /// When replaced sessions are told to leave.
    leaving: Vec<(Instant, SessionKey)>,
    give_up_after: Option<Duration>,
    /// When the last session was lost, while there is none.
    disconnected_since: Option<Instant>,
    was_connected: bool,
    last_error: Option<DialError>,
    /// Why the client ends once its last session has ended. No session is dialled while this is set.
    final_problem: Option<Problem>,
    reported_state: Option<(ClientState, Option<String>)>,
}

impl SessionManager {
    /// A client that has not dialled yet.
    pub(crate) fn new(
        context: Arc<ClientContext>,
        first: Arc<Lane>,
        stop: CancellationToken,
        give_up_after: Option<Duration>,
    ) -> Self {
        let (report, reports) = mpsc::channel(MAX_PENDING_REPORTS);
        Self {
            context,
            lanes: vec![first],
            stop,
            plan: SessionPlan::new(),
            managed: HashMap::new(),
            next_key: 0,
            reports,
            report,
            retries: vec![],
            leaving: vec![],
            give_up_after,
            disconnected_since: Some(Instant::now()),
            was_connected: false,
            last_error: None,
            final_problem: None,
            reported_state: None,
        }
    }

    /// Runs the client until it is stopped or cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<ClientCommand>) -> Result<(), Problem> {
        for tunnel in &self.context.tunnels {
            self.context.event_queue.send(EventKind::TunnelAdded(tunnel.description()));
        }
        self.report_state(ClientState::Connecting, Some(self.context.dialer.relay.host()), None);
        let ended = loop {
            self.dial_missing();
            if let Some(problem) = self.reason_to_end() {
                break Err(problem);
            }
            let wake = self.next_wake();
            tokio::select! {
                Some((key, report)) = self.reports.recv() => {
                    if let Err(problem) = self.handle_report(key, report) {
                        break Err(problem);
                    }
                }
                command = commands.recv() => match command {
                    Some(ClientCommand::Stop { grace, done }) => {
                        self.finish_sessions(grace).await;
                        let _ = done.send(());
                        break Ok(());
                    }
                    // The client was dropped.
                    None => break Ok(()),
                },
                () = sleep_until(wake) => {}
            }
            self.retry_tunnels();
            self.leave_sessions();
        };
        if let Err(problem) = &ended {
            self.report_end(problem);
        }
        self.cut_all();
        ended
    }

    fn cut_all(&self) {
        for session in self.managed.values() {
            session.cut.cancel();
        }
    }

    /// Returns the problem with which the client ends now; `None` while it goes on.
    fn reason_to_end(&mut self) -> Option<Problem> {
        let up = self.managed.values().any(|session| session.up.is_some());
        if !up && let Some(problem) = self.final_problem.take() {
            return Some(problem);
        }
        let enabled = || self.context.tunnels.iter().filter(|tunnel| tunnel.spec.enabled);
        if enabled().all(|tunnel| tunnel.end_problem().is_some()) {
            let replaced = |p: &Problem| p.code == Code::Replaced.as_str();
            let problems: Vec<Problem> = enabled().filter_map(|tunnel| tunnel.end_problem()).collect();
            let problem = problems.iter().find(|p| replaced(p)).or(problems.last()).cloned();
            return problem
                .or_else(|| Some(Problem::new("config_invalid").with("message", "no tunnel is enabled")));
        }
        let (without, patience) = (self.disconnected_since?, self.give_up_after?);
        if without.elapsed() < patience {
            return None;
        }
        let problem = match &self.last_error {
            Some(error) => error.problem(&self.context.dialer.relay),
            None => Problem::new("relay_unreachable").with("host", self.context.dialer.relay.host()),
        };
        Some(self.with_facts(problem))
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let give_up =
            self.disconnected_since.zip(self.give_up_after).map(|(without, patience)| without + patience);
        let again = self.retries.iter().map(|(at, ..)| *at).min();
        let leave = self.leaving.iter().map(|(at, _)| *at).min();
        let dial = self.plan.next_dial(now).filter(|_| self.final_problem.is_none());
        [give_up, again, leave, dial].into_iter().flatten().min().unwrap_or(now + Duration::from_secs(3600))
    }

    /// Dials the sessions that the plan asks for.
    fn dial_missing(&mut self) {
        while self.final_problem.is_none()
            && let Some(DialOrder { lane, target }) = self.plan.next_order(self.next_key, Instant::now())
        {
            let tunnels: Vec<_> =
                self.context.tunnels.iter().filter_map(|tunnel| tunnel.open_request()).collect();
            let key = self.next_key;
            self.next_key += 1;
            let lane = self.lane_at(lane);
            let cut = self.stop.child_token();
            let start = SessionSetup {
                key,
                lane: lane.clone(),
                context: self.context.clone(),
                reports: self.report.clone(),
                cut: cut.clone(),
            };
            self.managed.insert(key, ManagedSession { cut, up: None });
            lane.spawn(start.run(DialRequest { avoid: target.avoid, only: target.only, tunnels }));
        }
    }

    fn lane_at(&mut self, index: usize) -> Arc<Lane> {
        while self.lanes.len() <= index.min(lanes::MAX_LANES - 1) {
            match Lane::start(self.lanes.len(), self.stop.clone()) {
                Ok(lane) => self.lanes.push(lane),
                Err(error) => {
                    // Fewer threads are slower, not wrong.
                    tracing::warn!(error = &error as &dyn std::error::Error, "the system gives no thread");
                    break;
                }
            }
        }
        self.lanes[index.min(self.lanes.len() - 1)].clone()
    }

    fn retry_tunnels(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.retries).into_iter().partition(|(at, ..)| *at <= now);
        self.retries = later;
        for (_, key, id) in due {
            if let Some(ask) = self.context.tunnel(&id).and_then(|tunnel| tunnel.open_request()) {
                self.send_command(key, SessionCommand::Tell(ToRelay::Open(ask)));
            }
        }
    }

    fn leave_sessions(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.leaving).into_iter().partition(|(at, _)| *at <= now);
        self.leaving = later;
        for (_, key) in due {
            self.send_command(key, SessionCommand::Finish(ToRelay::Leave {}));
        }
    }

    fn send_command(&self, key: SessionKey, command: SessionCommand) {
        let up = self.managed.get(&key).and_then(|session| session.up.as_ref().map(|up| (up, &session.cut)));
        if let Some((up, cut)) = up
            && up.commands.try_send(command).is_err()
        {
            // The relay does not read its control stream.
            cut.cancel();
        }
    }

    /// Ends all sessions once their open streams have ended, at the latest after `grace`.
    async fn finish_sessions(&mut self, grace: Duration) {
        self.report_state(ClientState::Stopping, None, None);
        let deadline = Instant::now() + grace;
        self.managed.retain(|_, session| {
            if session.up.is_none() {
                session.cut.cancel();
            }
            session.up.is_some()
        });
        let keys: Vec<SessionKey> = self.managed.keys().copied().collect();
        for key in keys {
            self.send_command(key, SessionCommand::Finish(ToRelay::Bye {}));
        }
        while !self.managed.is_empty() {
            tokio::select! {
                Some((key, report)) = self.reports.recv() => {
                    if matches!(report, Report::Ended(_)) {
                        let _ = self.session_ended(key, SessionEnd::Left);
                    }
                }
                () = sleep_until(deadline) => return,
            }
        }
    }
}
