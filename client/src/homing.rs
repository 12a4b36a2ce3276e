//! Keeps a client at home with its region: which sessions to hold, when to dial, when to give up.

mod backoff;
mod homes;
mod requests;
mod verdict;

use crate::{
    dial::{Ask, DialError},
    event::{self, ClientState, SessionState, What},
    lanes::{self, Lane},
    local,
    problem::Problem,
    session::{Command, End, Key, Report, Start},
    shared::Shared,
    tunnels::{LIMITED, time_at},
};
use adit_protocol::{
    Code, Elsewhere, Kind, Refused, ToClient, ToRelay, TunnelId, Welcome, hello::MAX_TUNNELS,
};
use homes::{Homes, Order};
pub(crate) use requests::Request;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use verdict::Verdict;

/// How many reports of sessions may wait.
const REPORTS: usize = 256;
/// After this time without a session the client is offline rather than reconnecting.
const OFFLINE: Duration = Duration::from_secs(10);
/// Between two looks at whether a service that was down takes connections again.
const PROBE: Duration = Duration::from_secs(2);
/// A change of latency is reported if it is larger than this, and than a fourth of the last one.
const LATENCY_STEP_MS: u64 = 3;

/// How many tunnels may wait to be asked for again, over all sessions.
const RETRIES: usize = 8 * MAX_TUNNELS;

/// A session that is dialled or up.
struct Live {
    cut: CancellationToken,
    up: Option<Up>,
}

/// A session that is up.
struct Up {
    commands: mpsc::Sender<Command>,
    shown: event::Session,
}

/// The task that keeps a client's sessions.
pub(crate) struct Homing {
    shared: Arc<Shared>,
    lanes: Vec<Arc<Lane>>,
    /// Ends all lanes.
    stop: CancellationToken,
    homes: Homes,
    live: HashMap<Key, Live>,
    next_key: Key,
    reports: mpsc::Receiver<(Key, Report)>,
    report: mpsc::Sender<(Key, Report)>,
    /// Tunnels to ask for again on a session.
    again: Vec<(Instant, Key, TunnelId)>,
    give_up_after: Option<Duration>,
    /// Since when there has been no session.
    without: Option<Instant>,
    ever_up: bool,
    last_error: Option<DialError>,
    /// No more sessions are dialled, and when the last one ends, the client ends for this reason.
    doomed: Option<Problem>,
    told: Option<(ClientState, Option<String>)>,
}

impl Homing {
    /// A client that has not dialled yet.
    pub(crate) fn new(
        shared: Arc<Shared>,
        first: Arc<Lane>,
        stop: CancellationToken,
        give_up_after: Option<Duration>,
    ) -> Self {
        let (report, reports) = mpsc::channel(REPORTS);
        Self {
            shared,
            lanes: vec![first],
            stop,
            homes: Homes::new(),
            live: HashMap::new(),
            next_key: 0,
            reports,
            report,
            again: vec![],
            give_up_after,
            without: Some(Instant::now()),
            ever_up: false,
            last_error: None,
            doomed: None,
            told: None,
        }
    }

    /// Runs the client until it is stopped or cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), Problem> {
        for tunnel in &self.shared.tunnels {
            self.shared.feed.send(What::TunnelAdded(tunnel.described()));
        }
        self.tell_state(ClientState::Connecting, Some(self.shared.relay.host()), None);
        let ended = loop {
            self.dial();
            if let Some(problem) = self.give_up() {
                break Err(problem);
            }
            let wake = self.next_wake();
            tokio::select! {
                Some((key, report)) = self.reports.recv() => {
                    if let Err(problem) = self.handle(key, report) {
                        break Err(problem);
                    }
                }
                request = requests.recv() => match request {
                    Some(Request::Stop { grace, done }) => {
                        self.finish(grace).await;
                        let _ = done.send(());
                        break Ok(());
                    }
                    // The client was dropped.
                    None => break Ok(()),
                },
                () = sleep_until(wake) => {}
            }
            self.ask_again();
        };
        if let Err(problem) = &ended {
            self.tell_end(problem);
        }
        self.cut_all();
        ended
    }

    fn cut_all(&self) {
        for live in self.live.values() {
            live.cut.cancel();
        }
    }

    fn tell_end(&mut self, problem: &Problem) {
        match problem.code.as_str() {
            "suspended" => self.tell_state(ClientState::Suspended, problem.why.clone(), None),
            "upgrade_required" => self.tell_state(ClientState::UpgradeRequired, problem.why.clone(), None),
            _ => {}
        }
        self.shared.feed.send(What::Error(problem.clone().fatal()));
    }

    /// Why the client ends now, if it does.
    fn give_up(&mut self) -> Option<Problem> {
        let up = self.live.values().any(|live| live.up.is_some());
        if !up && let Some(problem) = self.doomed.take() {
            return Some(problem);
        }
        let enabled = || self.shared.tunnels.iter().filter(|tunnel| tunnel.spec.enabled);
        if enabled().all(|tunnel| tunnel.ended().is_some()) {
            let replaced = |p: &Problem| p.code == Code::Replaced.as_str();
            let problems: Vec<Problem> = enabled().filter_map(|tunnel| tunnel.ended()).collect();
            let problem = problems.iter().find(|p| replaced(p)).or(problems.last()).cloned();
            return problem
                .or_else(|| Some(Problem::new("config_invalid").with("message", "no tunnel is enabled")));
        }
        let (without, patience) = (self.without?, self.give_up_after?);
        if without.elapsed() < patience {
            return None;
        }
        let problem = match &self.last_error {
            Some(error) => error.problem(&self.shared.relay),
            None => Problem::new("relay_unreachable").with("host", self.shared.relay.host()),
        };
        Some(self.with_facts(problem))
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let give_up = self.without.zip(self.give_up_after).map(|(without, patience)| without + patience);
        let again = self.again.iter().map(|(at, ..)| *at).min();
        let dial = self.homes.next_dial(now).filter(|_| self.doomed.is_none());
        [give_up, again, dial].into_iter().flatten().min().unwrap_or(now + Duration::from_secs(3600))
    }

    /// Dials as many sessions as are missing.
    fn dial(&mut self) {
        while self.doomed.is_none()
            && let Some(Order { lane, avoid }) = self.homes.order(self.next_key, Instant::now())
        {
            let tunnels: Vec<_> = self.shared.tunnels.iter().filter_map(|tunnel| tunnel.ask()).collect();
            let key = self.next_key;
            self.next_key += 1;
            let lane = self.lane(lane);
            let cut = self.stop.child_token();
            let start = Start {
                key,
                lane: lane.clone(),
                shared: self.shared.clone(),
                reports: self.report.clone(),
                cut: cut.clone(),
            };
            self.live.insert(key, Live { cut, up: None });
            lane.spawn(start.run(Ask { avoid, tunnels }));
        }
    }

    fn lane(&mut self, index: usize) -> Arc<Lane> {
        while self.lanes.len() <= index.min(lanes::MAX - 1) {
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

    fn handle(&mut self, key: Key, report: Report) -> Result<(), Problem> {
        match report {
            Report::Failed(error) => self.failed(key, error),
            Report::Elsewhere(elsewhere) => {
                self.live.remove(&key);
                self.elsewhere(key, &elsewhere);
                Ok(())
            }
            Report::Refused(refused, by_credential) => self.refused(key, &refused, by_credential),
            Report::Up(welcome, commands) => {
                self.up(key, &welcome, commands);
                Ok(())
            }
            Report::Said(message) => {
                self.said(key, message);
                Ok(())
            }
            Report::Latency(round_trip) => {
                self.latency(key, round_trip);
                Ok(())
            }
            Report::NotRenewed(problem) => {
                let problem = self.with_facts(*problem);
                self.shared.feed.send(What::Notice(problem));
                Ok(())
            }
            Report::Down(end) => self.down(key, end),
        }
    }

    fn failed(&mut self, key: Key, error: DialError) -> Result<(), Problem> {
        self.live.remove(&key);
        let now = Instant::now();
        self.homes.failed(key, now, None);
        tracing::debug!(error = &error as &dyn std::error::Error, "a dial failed");
        if error.is_final() && !self.ever_up {
            return Err(self.with_facts(error.problem(&self.shared.relay)));
        }
        self.tell_retry(error.reason());
        self.last_error = Some(error);
        Ok(())
    }

    fn elsewhere(&mut self, key: Key, elsewhere: &Elsewhere) {
        if self.homes.elsewhere(key, elsewhere, Instant::now()) {
            let reason = "single-homed: no second relay answers".to_owned();
            self.tell_state(ClientState::Connected, Some(reason), None);
        }
    }

    fn refused(&mut self, key: Key, refused: &Refused, by_credential: bool) -> Result<(), Problem> {
        self.live.remove(&key);
        let now = Instant::now();
        let has_token = self.shared.identity.has_token();
        match verdict::verdict(refused, by_credential && has_token) {
            Verdict::UseToken => {
                self.shared.identity.forget_credential();
                self.homes.dropped(key);
            }
            Verdict::Retry(after) => {
                self.homes.failed(key, now, after);
                self.tell_retry(refused.message.clone());
            }
            Verdict::Final => {
                self.homes.dropped(key);
                let problem = self.with_facts(verdict::problem(refused, crate::identity::now()));
                if !self.homes.is_served() {
                    return Err(problem);
                }
                if refused.code == Code::TooManySessions {
                    // What it has is what it may have.
                    self.homes.be_content(now);
                } else {
                    self.shared.feed.send(What::Notice(problem.clone()));
                    self.doomed = Some(problem);
                }
            }
        }
        Ok(())
    }

    fn up(&mut self, key: Key, welcome: &Welcome, commands: mpsc::Sender<Command>) {
        let now = Instant::now();
        let first = !self.ever_up;
        (self.ever_up, self.without, self.last_error) = (true, None, None);
        let shown = event::Session {
            session: welcome.session.clone(),
            relay: welcome.relay.clone(),
            region: welcome.region.clone(),
            state: SessionState::Connected,
            latency_ms: None,
            reason: None,
        };
        self.shared.feed.send(What::SessionState(shown.clone()));
        if let Some(live) = self.live.get_mut(&key) {
            live.up = Some(Up { commands, shown });
        }
        for refused in &welcome.refused {
            self.tunnel_refused(key, refused);
        }
        let letting_go = self.homes.up(key, welcome, now);
        for other in letting_go {
            self.command(other, Command::Finish(ToRelay::Leave {}));
        }
        if self.homes.is_complete() || first {
            self.tell_state(ClientState::Connected, None, None);
        }
        if first {
            self.lanes[0].spawn(probe_services(self.shared.clone()));
        }
    }

    fn tunnel_refused(&mut self, key: Key, refused: &adit_protocol::RefusedTunnel) {
        let Some(tunnel) = self.shared.tunnel(&refused.tunnel) else { return };
        let after = refused.retry_after_ms.map(Duration::from_millis);
        tunnel.refused(refused.code, &refused.message, after);
        if let Some(at) = after.map(|after| Instant::now() + after).or(tunnel.retry_at())
            && self.again.len() < RETRIES
        {
            self.again.push((at, key, refused.tunnel.clone()));
        }
    }

    fn ask_again(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.again).into_iter().partition(|(at, ..)| *at <= now);
        self.again = later;
        for (_, key, id) in due {
            if let Some(ask) = self.shared.tunnel(&id).and_then(|tunnel| tunnel.ask()) {
                self.command(key, Command::Tell(ToRelay::Open(ask)));
            }
        }
    }

    fn command(&self, key: Key, command: Command) {
        let up = self.live.get(&key).and_then(|live| live.up.as_ref().map(|up| (up, &live.cut)));
        if let Some((up, cut)) = up
            && up.commands.try_send(command).is_err()
        {
            // Its relay reads nothing: it is of no use.
            cut.cancel();
        }
    }

    fn said(&mut self, key: Key, message: ToClient) {
        match message {
            ToClient::Move { .. } => {
                self.homes.moving(key);
                self.tell_session(key, SessionState::Moving, Some("relay drains".into()));
            }
            ToClient::Refused(refused) => self.tunnel_refused(key, &refused),
            ToClient::Closed { tunnel, code, message } => {
                if let Some(tunnel) = self.shared.tunnel(&tunnel) {
                    tunnel.close(code, &message);
                }
            }
            ToClient::Limited { code, limit, refused } => self.limited(code, limit, refused),
            _ => {}
        }
    }

    fn limited(&self, code: Code, limit: u64, refused: u64) {
        let problem = Problem::new(code.as_str()).with("limit", limit).with("refused", refused);
        let open: Vec<_> = self.shared.tunnels.iter().filter(|tunnel| tunnel.is_open()).cloned().collect();
        for tunnel in &open {
            tunnel.limited(code, &problem.message);
        }
        self.shared.feed.send(What::Notice(problem));
        self.lanes[0].spawn(async move {
            sleep(LIMITED).await;
            open.iter().for_each(|tunnel| tunnel.refresh());
        });
    }

    fn latency(&mut self, key: Key, round_trip: Duration) {
        let Some(up) = self.live.get_mut(&key).and_then(|live| live.up.as_mut()) else { return };
        let ms = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        let changed = up.shown.latency_ms.is_none_or(|old| ms.abs_diff(old) > LATENCY_STEP_MS.max(old / 4));
        if changed {
            up.shown.latency_ms = Some(ms);
            self.shared.feed.send(What::SessionState(up.shown.clone()));
        }
    }

    fn tell_session(&mut self, key: Key, state: SessionState, reason: Option<String>) {
        if let Some(up) = self.live.get_mut(&key).and_then(|live| live.up.as_mut()) {
            up.shown.state = state;
            up.shown.reason = reason;
            self.shared.feed.send(What::SessionState(up.shown.clone()));
        }
    }

    fn down(&mut self, key: Key, end: End) -> Result<(), Problem> {
        let now = Instant::now();
        let reason = match &end {
            End::Left => "left".to_owned(),
            End::Closed(Code::Draining, _) => "relay drains".to_owned(),
            End::Closed(code, message) => format!("{message} [{code}]"),
            End::Lost(why) => why.clone(),
        };
        self.tell_session(key, SessionState::Closed, Some(reason.clone()));
        self.live.remove(&key);
        self.again.retain(|(_, of, _)| *of != key);
        let missed = self.homes.down(key, now);
        if let End::Closed(code @ (Code::Replaced | Code::Suspended | Code::UpgradeRequired), message) = end {
            let problem = Problem::new(code.as_str()).with("message", message);
            return Err(self.with_facts(problem));
        }
        if !self.homes.is_served() && self.without.is_none() {
            self.without = Some(now);
        }
        if missed {
            self.tell_retry(reason);
        }
        Ok(())
    }

    /// Lets all sessions end with what is under way, for no longer than this.
    async fn finish(&mut self, grace: Duration) {
        self.tell_state(ClientState::Stopping, None, None);
        let deadline = Instant::now() + grace;
        self.live.retain(|_, live| {
            if live.up.is_none() {
                live.cut.cancel();
            }
            live.up.is_some()
        });
        let keys: Vec<Key> = self.live.keys().copied().collect();
        for key in keys {
            self.command(key, Command::Finish(ToRelay::Bye {}));
        }
        while !self.live.is_empty() {
            tokio::select! {
                Some((key, report)) = self.reports.recv() => {
                    if matches!(report, Report::Down(_)) {
                        let _ = self.down(key, End::Left);
                    }
                }
                () = sleep_until(deadline) => return,
            }
        }
    }

    fn tell_retry(&mut self, reason: String) {
        let retry_at = self.homes.next_dial(Instant::now());
        let state = match (self.without, self.ever_up) {
            (None, _) => ClientState::Reconnecting,
            (Some(since), _) if since.elapsed() >= OFFLINE => ClientState::Offline,
            (_, true) => ClientState::Reconnecting,
            (_, false) => ClientState::Connecting,
        };
        self.tell_state(state, Some(reason), retry_at);
    }

    fn tell_state(&mut self, state: ClientState, reason: Option<String>, retry_at: Option<Instant>) {
        let told = (state, reason.clone());
        if retry_at.is_none() && self.told.as_ref() == Some(&told) {
            return;
        }
        self.told = Some(told);
        let retry_at = retry_at.map(time_at);
        self.shared.feed.send(What::ClientState { state, reason, retry_at });
    }

    fn with_facts(&self, problem: Problem) -> Problem {
        problem.with("region", self.shared.relay.domain()).with("version", crate::VERSION)
    }
}

/// Notices when services go up or down without a consumer.
async fn probe_services(shared: Arc<Shared>) {
    // A TCP service may take its one connection for the consumer's.
    let tunnels =
        || shared.tunnels.iter().filter(|tunnel| tunnel.spec.kind() == Kind::Http && tunnel.spec.enabled);
    for tunnel in tunnels() {
        local::probe(tunnel).await;
    }
    loop {
        sleep(PROBE).await;
        for tunnel in tunnels().filter(|tunnel| tunnel.is_down()) {
            local::probe(tunnel).await;
        }
    }
}
