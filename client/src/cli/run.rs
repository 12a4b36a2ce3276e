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
    terminal::{self, Keyboard},
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
/// Between two looks at whether the program is in the foreground again.
const BACKGROUND: Duration = Duration::from_millis(500);
/// How long a remark stays.
const REMARK: Duration = Duration::from_secs(3);
/// Between two notices of events that were dropped.
const DROPPED: Duration = Duration::from_secs(1);
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

/// How far a run has come.
struct Course {
    /// Why it is to stop, and when it is cut.
    stopping: Option<(&'static str, Instant)>,
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

impl Course {
    /// How it ends if it ends now.
    fn end(&mut self) -> End {
        if let Some(problem) = self.fatal.take() {
            return End {
                exit_code: problem.exit_code(),
                reason: problem.message.clone(),
                problem: Some(problem),
            };
        }
        let reason = self.stopping.map_or("the client has ended", |(reason, _)| reason);
        End { exit_code: 0, reason: reason.into(), problem: None }
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
    pub(super) async fn until_its_end(mut self) -> io::Result<u8> {
        let mut signals = Signals::listen()?;
        self.output.keys = self.keyboard.is_some();
        let end = self.until_end(&mut signals).await;
        self.finish(end).await
    }

    async fn until_end(&mut self, signals: &mut Signals) -> End {
        let now = Instant::now();
        let mut course = Course {
            stopping: None,
            fatal: None,
            dirty: true,
            drawn: now - FRAME,
            in_background: false,
            dropped: (0, now - DROPPED),
        };
        loop {
            let wake = self.wake(signals, &course).await;
            if let Some(end) = self.woken(wake, &mut course) {
                return end;
            }
            if course.stopping.is_some_and(|(_, cut)| Instant::now() >= cut) {
                return course.end();
            }
            self.draw(&mut course);
        }
    }

    /// Does what it woke for. Answers with how the run ends, if it does.
    fn woken(&mut self, wake: Wake, course: &mut Course) -> Option<End> {
        course.dirty |= !matches!(wake, Wake::Reader(_) | Wake::Flushed | Wake::Time);
        match wake {
            Wake::Event(None) => return Some(course.end()),
            Wake::Event(Some(event)) => {
                let mut next = Some(event);
                for _ in 0..BATCH {
                    let Some(event) = next else { break };
                    self.take(event, course);
                    next = if self.output.has_room() { self.source.next_now() } else { None };
                }
                self.tell_dropped(course);
            }
            Wake::Stop(reason) if course.stopping.is_some() => {
                return Some(End {
                    exit_code: INTERRUPTED,
                    reason: format!("second {reason}"),
                    problem: None,
                });
            }
            Wake::Stop(reason) => self.stop(reason, course),
            Wake::Key('q') => self.stop("q", course),
            Wake::Key(key) => self.key(key),
            Wake::Resume => self.resume(course),
            Wake::Reader(stream) => {
                if let Some(socket) = &self.socket {
                    socket.answer(stream, &Client::of(&self.about, &self.state));
                }
            }
            // Only the reader of events is missed: whoever has read the URL may close stdout.
            Wake::StdoutClosed if self.output.json => self.stop("stdout was closed", course),
            Wake::Redraw | Wake::StdoutClosed | Wake::Flushed | Wake::Time => {}
        }
        None
    }

    /// The program was stopped and goes on, or it was in the background and may be so no more.
    fn resume(&mut self, course: &mut Course) {
        course.in_background = self.output.manner == Manner::Live && terminal::in_background();
        if course.in_background {
            return;
        }
        if let Some(keyboard) = &self.keyboard {
            keyboard.take();
        }
        self.output.redraw();
        course.dirty = true;
    }

    /// Draws a frame if there is something new, not too often, and not while the terminal is busy with the last one.
    fn draw(&mut self, course: &mut Course) {
        let now = Instant::now();
        if course.in_background {
            // Nobody says when a job that runs is brought to the foreground.
            if now >= course.drawn + BACKGROUND {
                course.drawn = now;
                self.resume(course);
            }
            return;
        }
        if self.state.remark.as_ref().is_some_and(|(at, _)| Time::now().since(*at) >= REMARK) {
            self.state.remark = None;
            course.dirty = true;
        }
        course.dirty |= self.state.ticks() && now >= course.drawn + TICK;
        if course.dirty && now >= course.drawn + FRAME && self.output.draw(&self.state, Time::now()) {
            course.dirty = false;
            course.drawn = now;
        }
    }

    /// When something has to be done although nothing happens.
    fn timer(&self, course: &Course) -> Option<Instant> {
        let frame = match self.output.manner {
            _ if course.in_background => Some(course.drawn + BACKGROUND),
            Manner::Live if course.dirty && self.output.stderr.sink.is_idle() => Some(course.drawn + FRAME),
            Manner::Live if self.state.ticks() => Some(course.drawn + TICK),
            _ => None,
        };
        [frame, course.stopping.map(|(_, cut)| cut)].into_iter().flatten().min()
    }

    async fn wake(&mut self, signals: &mut Signals, course: &Course) -> Wake {
        let timer = self.timer(course);
        let Self { source, output, socket, keyboard, .. } = self;
        let has_room = output.has_room();
        let Output { stdout, stderr, manner, .. } = output;
        let (stdout_pending, stderr_pending) = (stdout.sink.is_pending(), stderr.sink.is_pending());
        let draws = *manner == Manner::Live && !course.in_background;
        // A frame waits until the terminal has taken the one before.
        let stderr_waited_for = stderr_pending || (draws && course.dirty && !stderr.sink.is_idle());
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

    /// Tells those who read events that some are missing, at most once a second.
    fn tell_dropped(&mut self, course: &mut Course) {
        let dropped = self.source.dropped();
        let (told, at) = course.dropped;
        if dropped == told || at.elapsed() < DROPPED {
            return;
        }
        course.dropped = (dropped, Instant::now());
        let problem = Problem::new("events_dropped").with("count", dropped - told);
        self.output.event(&Event::now(What::Notice(problem)), &self.state);
    }

    /// Takes one event of the client in.
    fn take(&mut self, event: Event, course: &mut Course) {
        match &event.what {
            // This command says itself when it begins and ends.
            What::ClientStarted { .. } | What::ClientStopped { .. } => return,
            What::Error(problem) if problem.fatal => {
                course.fatal.get_or_insert_with(|| problem.clone());
            }
            _ => {}
        }
        self.output.event(&event, &self.state);
        if let Some(problem) = self.refusal(&event) {
            self.output.problem(&problem, true);
        }
        self.state.apply(&event);
        if matches!(event.what, What::Request(_) | What::Connection(_)) {
            self.output.exchange(event);
        }
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

    /// Begins the end, unless it has begun.
    fn stop(&mut self, reason: &'static str, course: &mut Course) {
        if course.stopping.is_some() {
            return;
        }
        course.stopping = Some((reason, Instant::now() + GRACE + AFTER_GRACE));
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
        // The last frame shows how it ended, if the terminal takes it.
        if self.output.manner == Manner::Live {
            let flushed = tokio::time::timeout(FRAME, self.output.stderr.sink.flush()).await;
            if flushed.is_ok() {
                self.output.draw(&self.state, Time::now());
            }
        }
        drop(self.keyboard.take());
        drop(self.socket.take());
        let stopped = What::ClientStopped { exit_code: end.exit_code, reason: end.reason };
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
