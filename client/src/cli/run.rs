//! One run of the client: events, keys, signals and output, until it ends.

mod wake;

use super::{
    desktop,
    display_state::DisplayState,
    output::{Output, OutputMode},
    source::Source,
    status::{
        snapshot::{ClientInfo, ClientSnapshot},
        socket::Socket,
    },
    terminal::{self, Keyboard},
};
use crate::{
    event::{ClientState, Event, EventKind, Time, TunnelState},
    problem::Problem,
};
use std::{io, time::Duration};
use tokio::time::{Instant, sleep_until};
use wake::{Signals, WakeReason};

/// How long answers in flight have after the first Ctrl-C.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// How much longer the client itself may take.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// Between two frames, at least.
const MIN_FRAME_INTERVAL: Duration = Duration::from_millis(50);
/// Between two frames, at most, while something counts seconds.
const TICK_INTERVAL: Duration = Duration::from_millis(200);
/// Between two looks at whether the program is in the foreground again.
const FOREGROUND_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a remark stays.
const REMARK_DURATION: Duration = Duration::from_secs(3);
/// Between two notices of events that were dropped.
const DROPPED_NOTICE_INTERVAL: Duration = Duration::from_secs(1);
/// How many events are taken before keys, signals and output get their turn.
const MAX_EVENT_BATCH: usize = 512;
/// The same signal within this time of the first counts once: `timeout` sends it to its child and then to the process
/// group. No person sends a second one that fast.
const REPEATED_SIGNAL_TIME: Duration = Duration::from_millis(100);
/// The code of the second Ctrl-C.
const INTERRUPTED_EXIT_CODE: u8 = 130;

/// One run.
pub(super) struct Run {
    pub(super) state: DisplayState,
    pub(super) source: Source,
    pub(super) output: Output,
    pub(super) info: ClientInfo,
    pub(super) socket: Option<Socket>,
    pub(super) keyboard: Option<Keyboard>,
}

/// How a run has ended.
#[derive(Debug)]
struct RunEnd {
    exit_code: u8,
    reason: String,
    problem: Option<Problem>,
}

/// A run that is to end.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    /// The signal or key that asked for it.
    reason: &'static str,
    since: Instant,
    /// When answers in flight are cut off.
    deadline: Instant,
}

impl Stopping {
    /// Whether another signal is a second one, and not the first delivered twice.
    fn is_second_signal(&self, reason: &str, now: Instant) -> bool {
        reason != self.reason || now >= self.since + REPEATED_SIGNAL_TIME
    }
}

/// How far a run has come.
struct RunState {
    stopping: Option<Stopping>,
    /// Why the client cannot go on.
    fatal: Option<Problem>,
    /// Whether there is something new to show.
    dirty: bool,
    /// When the last frame was drawn.
    drawn: Instant,
    /// Whether the terminal is another job's.
    in_background: bool,
    /// How many dropped events were told, and when.
    dropped: (u64, Instant),
}

impl RunState {
    /// How it ends if it ends now.
    fn end(&mut self) -> RunEnd {
        if let Some(problem) = self.fatal.take() {
            return RunEnd {
                exit_code: problem.exit_code(),
                reason: problem.message.clone(),
                problem: Some(problem),
            };
        }
        let reason = self.stopping.map_or("the client has ended", |stopping| stopping.reason);
        RunEnd { exit_code: 0, reason: reason.into(), problem: None }
    }
}

impl Run {
    /// Runs to the end and answers with the exit code.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub(super) async fn run_to_end(mut self) -> io::Result<u8> {
        let mut signals = Signals::listen()?;
        self.output.keys = self.keyboard.is_some();
        let end = self.run_until_end(&mut signals).await;
        self.finish(end).await
    }

    async fn run_until_end(&mut self, signals: &mut Signals) -> RunEnd {
        let now = Instant::now();
        let mut run_state = RunState {
            stopping: None,
            fatal: None,
            dirty: true,
            drawn: now - MIN_FRAME_INTERVAL,
            in_background: false,
            dropped: (0, now - DROPPED_NOTICE_INTERVAL),
        };
        loop {
            let wake = self.next_wake(signals, &run_state).await;
            if let Some(end) = self.handle_wake(wake, &mut run_state) {
                return end;
            }
            if run_state.stopping.is_some_and(|stopping| Instant::now() >= stopping.deadline) {
                return run_state.end();
            }
            self.draw(&mut run_state);
        }
    }

    /// Handles one wake-up. Returns how the run ends, if it does.
    fn handle_wake(&mut self, wake: WakeReason, run_state: &mut RunState) -> Option<RunEnd> {
        run_state.dirty |= !matches!(wake, WakeReason::Reader(_) | WakeReason::Flushed | WakeReason::Time);
        match wake {
            WakeReason::Event(None) => return Some(run_state.end()),
            WakeReason::Event(Some(event)) => {
                let mut next = Some(event);
                for _ in 0..MAX_EVENT_BATCH {
                    let Some(event) = next else { break };
                    self.handle_event(event, run_state);
                    next = if self.output.has_room() { self.source.next_now() } else { None };
                }
                self.tell_dropped(run_state);
            }
            WakeReason::Stop(reason) if run_state.stopping.is_some() => {
                let stopping = run_state.stopping?;
                if !stopping.is_second_signal(reason, Instant::now()) {
                    return None;
                }
                return Some(RunEnd {
                    exit_code: INTERRUPTED_EXIT_CODE,
                    reason: format!("second {reason}"),
                    problem: None,
                });
            }
            WakeReason::Stop(reason) => self.stop(reason, run_state),
            WakeReason::Key('q') => self.stop("q", run_state),
            WakeReason::Key(key) => self.key(key),
            WakeReason::Resume => self.resume(run_state),
            WakeReason::Reader(stream) => {
                if let Some(socket) = &self.socket {
                    socket.answer(stream, &ClientSnapshot::of(&self.info, &self.state));
                }
            }
            // Only a reader of events is needed: a reader of the URL may close stdout once it has it.
            WakeReason::StdoutClosed if self.output.json => self.stop("stdout was closed", run_state),
            WakeReason::Redraw | WakeReason::StdoutClosed | WakeReason::Flushed | WakeReason::Time => {}
        }
        None
    }

    /// The program was stopped and goes on, or it was in the background and may be so no more.
    fn resume(&mut self, run_state: &mut RunState) {
        run_state.in_background = self.output.mode == OutputMode::Live && terminal::in_background();
        if run_state.in_background {
            return;
        }
        if let Some(keyboard) = &self.keyboard {
            keyboard.take();
        }
        self.output.redraw();
        run_state.dirty = true;
    }

    /// Draws a frame if there is something new, not too often, and not while the terminal is busy with the last one.
    fn draw(&mut self, run_state: &mut RunState) {
        let now = Instant::now();
        if run_state.in_background {
            // There is no signal for a running job that is brought to the foreground.
            if now >= run_state.drawn + FOREGROUND_CHECK_INTERVAL {
                run_state.drawn = now;
                self.resume(run_state);
            }
            return;
        }
        if self.state.remark.as_ref().is_some_and(|(at, _)| Time::now().since(*at) >= REMARK_DURATION) {
            self.state.remark = None;
            run_state.dirty = true;
        }
        run_state.dirty |= self.state.ticks() && now >= run_state.drawn + TICK_INTERVAL;
        if run_state.dirty
            && now >= run_state.drawn + MIN_FRAME_INTERVAL
            && self.output.draw(&self.state, Time::now())
        {
            run_state.dirty = false;
            run_state.drawn = now;
        }
    }

    /// When something has to be done although nothing happens.
    fn timer(&self, run_state: &RunState) -> Option<Instant> {
        let frame = match self.output.mode {
            _ if run_state.in_background => Some(run_state.drawn + FOREGROUND_CHECK_INTERVAL),
            OutputMode::Live if run_state.dirty && self.output.stderr.sink.is_idle() => {
                Some(run_state.drawn + MIN_FRAME_INTERVAL)
            }
            OutputMode::Live if self.state.ticks() => Some(run_state.drawn + TICK_INTERVAL),
            _ => None,
        };
        [frame, run_state.stopping.map(|stopping| stopping.deadline)].into_iter().flatten().min()
    }

    async fn next_wake(&mut self, signals: &mut Signals, run_state: &RunState) -> WakeReason {
        let timer = self.timer(run_state);
        let Self { source, output, socket, keyboard, .. } = self;
        let has_room = output.has_room();
        let Output { stdout, stderr, mode, .. } = output;
        let (stdout_pending, stderr_pending) = (stdout.sink.is_pending(), stderr.sink.is_pending());
        let draws = *mode == OutputMode::Live && !run_state.in_background;
        // A frame waits until the terminal has taken the one before.
        let stderr_waited_for = stderr_pending || (draws && run_state.dirty && !stderr.sink.is_idle());
        let far = Instant::now() + Duration::from_secs(3600);
        let stdout_turn = async {
            tokio::select! {
                biased;
                _ = stdout.failure.wait() => WakeReason::StdoutClosed,
                () = stdout.sink.flush(), if stdout_pending => WakeReason::Flushed,
            }
        };
        tokio::select! {
            event = source.next(), if has_room => WakeReason::Event(event),
            wake = signals.next() => wake,
            wake = stdout_turn => wake,
            () = stderr.sink.flush(), if stderr_waited_for => WakeReason::Flushed,
            key = async { keyboard.as_mut().expect("guarded").key().await }, if keyboard.is_some() => WakeReason::Key(key),
            stream = async { socket.as_ref().expect("guarded").accept().await }, if socket.is_some() => WakeReason::Reader(stream),
            () = sleep_until(timer.unwrap_or(far)), if timer.is_some() => WakeReason::Time,
        }
    }

    /// Reports dropped events, at most once a second.
    fn tell_dropped(&mut self, run_state: &mut RunState) {
        let dropped = self.source.dropped();
        let (told, at) = run_state.dropped;
        if dropped == told || at.elapsed() < DROPPED_NOTICE_INTERVAL {
            return;
        }
        run_state.dropped = (dropped, Instant::now());
        let problem = Problem::new("events_dropped").with("count", dropped - told);
        self.output.event(&Event::now(EventKind::Notice(problem)), &self.state);
    }

    /// Takes one event of the client in.
    fn handle_event(&mut self, event: Event, run_state: &mut RunState) {
        match &event.kind {
            // This command says itself when it begins and ends.
            EventKind::ClientStarted { .. } | EventKind::ClientStopped { .. } => return,
            EventKind::Error(problem) if problem.fatal => {
                run_state.fatal.get_or_insert_with(|| problem.clone());
            }
            _ => {}
        }
        self.output.event(&event, &self.state);
        if let Some(problem) = self.refusal(&event) {
            self.output.problem(&problem, true);
        }
        self.state.apply(&event);
        if matches!(event.kind, EventKind::Request(_) | EventKind::Connection(_)) {
            self.output.exchange(event);
        }
    }

    /// In `adit start` a refused tunnel lets the others run, so that its reason is told when it comes.
    fn refusal(&self, event: &Event) -> Option<Problem> {
        let EventKind::TunnelState(status) = &event.kind else { return None };
        let tunnel = self.state.tunnel(&status.tunnel).filter(|_| self.state.many)?;
        let code = status
            .code
            .filter(|_| status.state == TunnelState::Refused && tunnel.state != TunnelState::Refused)?;
        let mut problem = Problem::new(code.as_str())
            .with("tunnel", status.tunnel.as_str())
            .with("region", self.info.region.as_str())
            .with("kind", tunnel.wanted.kind.to_string());
        if let Some(name) = &tunnel.wanted.name {
            problem = problem.with("name", name.as_str());
        }
        if let Some(port) = tunnel.wanted.options.get("port") {
            problem = problem.with("port", port.clone());
        }
        Some(match &status.reason {
            Some(reason) => problem.with("message", reason.as_str()),
            None => problem,
        })
    }

    /// Begins the end, unless it has begun.
    fn stop(&mut self, reason: &'static str, run_state: &mut RunState) {
        if run_state.stopping.is_some() {
            return;
        }
        let since = Instant::now();
        run_state.stopping = Some(Stopping { reason, since, deadline: since + GRACE_PERIOD + STOP_MARGIN });
        self.state.apply(&Event::now(EventKind::ClientState {
            state: ClientState::Stopping,
            reason: Some(reason.into()),
            retry_at: None,
        }));
        let seconds = GRACE_PERIOD.as_secs();
        self.output.remark(&format!(
            "stopping: answers in flight have {seconds} s to end; a second signal ends it at once"
        ));
        self.source.stop(GRACE_PERIOD);
    }

    fn key(&mut self, key: char) {
        if self.state.many {
            return;
        }
        let Some(tunnel) = self.state.tunnels.first() else { return };
        let remark = match (key, &tunnel.url) {
            ('p', _) => {
                self.source.pause(&tunnel.wanted.tunnel, tunnel.state != TunnelState::Paused);
                return;
            }
            ('o', Some(url)) if url.starts_with("https://") || url.starts_with("http://") => {
                desktop::open(url)
            }
            ('c', Some(url)) => {
                let (remark, sequence) = desktop::copy(url);
                self.output.stderr.sink.write(&sequence);
                remark
            }
            _ => return,
        };
        self.state.remark = Some((Time::now(), remark));
    }

    async fn finish(mut self, end: RunEnd) -> io::Result<u8> {
        // The last frame shows how it ended, if the terminal takes it.
        if self.output.mode == OutputMode::Live {
            let flushed = tokio::time::timeout(MIN_FRAME_INTERVAL, self.output.stderr.sink.flush()).await;
            if flushed.is_ok() {
                self.output.draw(&self.state, Time::now());
            }
        }
        drop(self.keyboard.take());
        drop(self.socket.take());
        let stopped = EventKind::ClientStopped { exit_code: end.exit_code, reason: end.reason };
        self.output.event(&Event::now(stopped), &self.state);
        self.output.end_live(&self.state);
        if let Some(problem) = &end.problem {
            self.output.problem(problem, true);
        }
        let Output { stdout, stderr, .. } = self.output;
        stdout.end().await;
        stderr.end().await;
        Ok(end.exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_delivered_twice_is_one_wish() {
        let since = Instant::now();
        let stopping = Stopping { reason: "SIGTERM", since, deadline: since + GRACE_PERIOD };
        assert!(!stopping.is_second_signal("SIGTERM", since + Duration::from_millis(1)));
        assert!(stopping.is_second_signal("SIGTERM", since + REPEATED_SIGNAL_TIME));
        assert!(stopping.is_second_signal("Ctrl-C", since + Duration::from_millis(1)));
    }
}
