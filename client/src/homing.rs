//! Keeps a client at home with its region: which sessions to hold, when to dial, when to give up.

mod backoff;
mod homes;
mod probe;
mod reports;
mod requests;
mod tell;
mod verdict;

use crate::{
    dial::{Ask, DialError},
    event::{self, ClientState, What},
    lanes::{self, Lane},
    problem::Problem,
    session::{Command, End, Key, Report, Start},
    shared::Shared,
};
use adit_protocol::{Code, ToRelay, TunnelId, hello::MAX_TUNNELS};
use homes::{Homes, Order};
pub(crate) use requests::Request;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How many reports of sessions may wait.
const REPORTS: usize = 256;

/// How many tunnels may wait to be asked for again, over all sessions.
const RETRIES: usize = 8 * MAX_TUNNELS;

/// How long a session serves on after another one has taken its place: so long the region's relays may take to hear of
/// the other. A relay that drains gives its clients 3 s at least.
const LINGER: Duration = Duration::from_secs(2);

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
    /// Sessions to leave.
    leave: Vec<(Instant, Key)>,
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
            leave: vec![],
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
            self.leave_sessions();
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
        let leave = self.leave.iter().map(|(at, _)| *at).min();
        let dial = self.homes.next_dial(now).filter(|_| self.doomed.is_none());
        [give_up, again, leave, dial].into_iter().flatten().min().unwrap_or(now + Duration::from_secs(3600))
    }

    /// Dials as many sessions as are missing.
    fn dial(&mut self) {
        while self.doomed.is_none()
            && let Some(Order { lane, wish }) = self.homes.order(self.next_key, Instant::now())
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
            lane.spawn(start.run(Ask { avoid: wish.avoid, only: wish.only, tunnels }));
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

    fn leave_sessions(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.leave).into_iter().partition(|(at, _)| *at <= now);
        self.leave = later;
        for (_, key) in due {
            self.command(key, Command::Finish(ToRelay::Leave {}));
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
}
