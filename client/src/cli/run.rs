//! One run of the client: events, keys, signals and output, until it ends.

use super::{
    desktop,
    output::{Manner, Output},
    source::Source,
    state::State,
    status::{
        snapshot::{About, Client},
        socket::Socket,
    },
    terminal::Keyboard,
};
use crate::{
    event::{ClientState, Event, Time, TunnelState, What},
    problem::Problem,
};
use std::{io, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

/// How long answers in flight have after the first Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);
/// How much longer the client itself may take.
const AFTER_GRACE: Duration = Duration::from_secs(2);
/// Between two frames, at least.
const FRAME: Duration = Duration::from_millis(50);
/// Between two frames, at most, while something counts seconds.
const TICK: Duration = Duration::from_millis(200);
/// How long a remark stays.
const REMARK: Duration = Duration::from_secs(3);
/// How many events are taken before keys, signals and output get their turn.
const BATCH: usize = 512;
/// The code of the second Ctrl-C.
const INTERRUPTED: u8 = 130;

/// One run.
pub(super) struct Run {
    pub(super) state: State,
    pub(super) source: Source,
    pub(super) output: Output,
    pub(super) about: About,
    pub(super) socket: Option<Socket>,
    pub(super) keyboard: Option<Keyboard>,
}

/// How a run has ended.
#[derive(Debug)]
struct End {
    exit_code: u8,
    reason: String,
    problem: Option<Problem>,
}

impl End {
    fn asked(reason: &str) -> Self {
        Self { exit_code: 0, reason: reason.into(), problem: None }
    }
}

/// The signals that matter.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    resize: Signal,
    resume: Signal,
}

/// What woke the run.
enum Wake {
    Event(Option<Event>),
    Key(char),
    /// The first says why to stop, the second leaves.
    Stop(&'static str),
    Redraw,
    Resume,
    Reader(tokio::net::UnixStream),
    Flushed,
    StdoutClosed,
    Time,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
            resume: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    async fn next(&mut self) -> Wake {
        tokio::select! {
            _ = self.interrupt.recv() => Wake::Stop("Ctrl-C"),
            _ = self.terminate.recv() => Wake::Stop("SIGTERM"),
            _ = self.hang_up.recv() => Wake::Stop("SIGHUP"),
            _ = self.resize.recv() => Wake::Redraw,
            _ = self.resume.recv() => Wake::Resume,
        }
    }
}

impl Run {
    /// Runs to the end and answers with the exit code.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub(super) async fn to_end(mut self) -> io::Result<u8> {
        let mut signals = Signals::listen()?;
        self.output.keys = self.keyboard.is_some();
        let end = self.until_end(&mut signals).await;
        self.finish(end).await
    }

    async fn until_end(&mut self, signals: &mut Signals) -> End {
        // Why the run is to stop, and when it is cut.
        let mut stopping: Option<(&'static str, Instant)> = None;
        let mut fatal: Option<Problem> = None;
        let mut dirty = true;
        let mut drawn = Instant::now() - FRAME;
        loop {
            let timer = self.timer(dirty, drawn, stopping.map(|(_, cut)| cut));
            match self.wake(signals, dirty, timer).await {
                Wake::Event(None) => break,
                Wake::Event(Some(event)) => {
                    let mut next = Some(event);
                    for _ in 0..BATCH {
                        let Some(event) = next else { break };
                        self.take(event, &mut fatal);
                        next = if self.output.has_room() { self.source.next_now() } else { None };
                    }
                    dirty = true;
                }
                Wake::Stop(reason) if stopping.is_none() => {
                    stopping = Some((reason, Instant::now() + GRACE + AFTER_GRACE));
                    self.stop(reason);
                    dirty = true;
                }
                Wake::Stop(reason) => {
                    return End { exit_code: INTERRUPTED, reason: format!("second {reason}"), problem: None };
                }
                Wake::Key('q') if stopping.is_none() => {
                    stopping = Some(("q", Instant::now() + GRACE + AFTER_GRACE));
                    self.stop("q");
                    dirty = true;
                }
                Wake::Key(key) => {
                    self.key(key);
                    dirty = true;
                }
                Wake::Redraw => dirty = true,
                Wake::Resume => {
                    if let Some(keyboard) = &self.keyboard {
                        keyboard.take();
                    }
                    dirty = true;
                }
                Wake::Reader(stream) => {
                    if let Some(socket) = &self.socket {
                        socket.answer(stream, &Client::of(&self.about, &self.state));
                    }
                }
                // Only the reader of events is missed: whoever read the URL may close stdout.
                Wake::StdoutClosed if self.output.json && stopping.is_none() => {
                    stopping = Some(("stdout was closed", Instant::now() + GRACE + AFTER_GRACE));
                    self.stop("stdout was closed");
                }
                Wake::Flushed | Wake::StdoutClosed => {}
                Wake::Time => {}
            }
            let now = Instant::now();
            if stopping.is_some_and(|(_, cut)| now >= cut) {
                break;
            }
            if self.state.remark.as_ref().is_some_and(|(at, _)| Time::now().since(*at) >= REMARK) {
                self.state.remark = None;
                dirty = true;
            }
            dirty |= self.state.ticks() && now >= drawn + TICK;
            if dirty && now >= drawn + FRAME && self.output.draw(&self.state, Time::now()) {
                dirty = false;
                drawn = now;
            }
        }
        match (fatal, stopping) {
            (Some(problem), _) => End {
                exit_code: problem.exit_code(),
                reason: problem.message.clone(),
                problem: Some(problem),
            },
            (None, Some((reason, _))) => End::asked(reason),
            (None, None) => End::asked("the client has ended"),
        }
    }

    /// When something has to be done although nothing happens.
    fn timer(&self, dirty: bool, drawn: Instant, cut: Option<Instant>) -> Option<Instant> {
        let frame = match self.output.manner {
            Manner::Live if dirty && self.output.stderr.sink.is_idle() => Some(drawn + FRAME),
            Manner::Live if self.state.ticks() => Some(drawn + TICK),
            _ => None,
        };
        [frame, cut].into_iter().flatten().min()
    }

    async fn wake(&mut self, signals: &mut Signals, dirty: bool, timer: Option<Instant>) -> Wake {
        let Self { source, output, socket, keyboard, .. } = self;
        let has_room = output.has_room();
        let Output { stdout, stderr, manner, .. } = output;
        let (stdout_pending, stderr_pending) = (stdout.sink.is_pending(), stderr.sink.is_pending());
        // A frame waits until the terminal has taken the one before.
        let stderr_waited_for =
            stderr_pending || (dirty && *manner == Manner::Live && !stderr.sink.is_idle());
        let far = Instant::now() + Duration::from_secs(3600);
        let stdout_turn = async {
            tokio::select! {
                biased;
                _ = stdout.failure.wait() => Wake::StdoutClosed,
                () = stdout.sink.flush(), if stdout_pending => Wake::Flushed,
            }
        };
        tokio::select! {
            event = source.next(), if has_room => Wake::Event(event),
            wake = signals.next() => wake,
            wake = stdout_turn => wake,
            () = stderr.sink.flush(), if stderr_waited_for => Wake::Flushed,
            key = async { keyboard.as_mut().expect("guarded").key().await }, if keyboard.is_some() => Wake::Key(key),
            stream = async { socket.as_ref().expect("guarded").accept().await }, if socket.is_some() => Wake::Reader(stream),
            () = sleep_until(timer.unwrap_or(far)), if timer.is_some() => Wake::Time,
        }
    }

    /// Takes one event of the client in.
    fn take(&mut self, event: Event, fatal: &mut Option<Problem>) {
        match &event.what {
            // This command says itself when it begins and ends.
            What::ClientStarted { .. } | What::ClientStopped { .. } => return,
            What::Error(problem) if problem.fatal => {
                fatal.get_or_insert_with(|| problem.clone());
            }
            _ => {}
        }
        self.output.event(&event, &self.state);
        if let Some(problem) = self.refusal(&event) {
            self.output.problem(&problem, true);
        }
        self.state.apply(&event);
    }

    /// In `adit start` a refused tunnel lets the others run, so that its reason is told when it comes.
    fn refusal(&self, event: &Event) -> Option<Problem> {
        let What::TunnelState(status) = &event.what else { return None };
        let tunnel = self.state.tunnel(&status.tunnel).filter(|_| self.state.many)?;
        let code = status
            .code
            .filter(|_| status.state == TunnelState::Refused && tunnel.state != TunnelState::Refused)?;
        let mut problem = Problem::new(code.as_str())
            .with("tunnel", status.tunnel.as_str())
            .with("region", self.about.region.as_str())
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

    fn stop(&mut self, reason: &str) {
        self.state.apply(&Event::now(What::ClientState {
            state: ClientState::Stopping,
            reason: Some(reason.into()),
            retry_at: None,
        }));
        let seconds = GRACE.as_secs();
        self.output
            .remark(&format!("stopping: answers in flight have {seconds} s to end; Ctrl-C leaves at once"));
        self.source.stop(GRACE);
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

    async fn finish(mut self, end: End) -> io::Result<u8> {
        let dropped = self.source.dropped();
        // The last frame shows how it ended, if the terminal takes it.
        if self.output.manner == Manner::Live {
            let flushed = tokio::time::timeout(FRAME, self.output.stderr.sink.flush()).await;
            if flushed.is_ok() {
                self.output.draw(&self.state, Time::now());
            }
        }
        drop(self.keyboard.take());
        drop(self.socket.take());
        if dropped > 0 {
            self.output.remark(&format!("{dropped} events were not read in time"));
        }
        let stopped = What::ClientStopped { exit_code: end.exit_code, reason: end.reason };
        self.output.event(&Event::now(stopped), &self.state);
        self.output.end_live();
        if let Some(problem) = &end.problem {
            self.output.problem(problem, true);
        }
        let Output { stdout, stderr, .. } = self.output;
        stdout.end().await;
        stderr.end().await;
        Ok(end.exit_code)
    }
}
