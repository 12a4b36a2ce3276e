//! The reasons that wake a run, and its signals.

use crate::event::Event;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a run handles.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    resize: Signal,
    resume: Signal,
}

/// The reason why the run's loop goes on.
pub(super) enum WakeReason {
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
    /// Listens to them from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
            resume: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    /// Waits for the next signal. It is safe to cancel.
    pub(super) async fn next(&mut self) -> WakeReason {
        tokio::select! {
            _ = self.interrupt.recv() => WakeReason::Stop("Ctrl-C"),
            _ = self.terminate.recv() => WakeReason::Stop("SIGTERM"),
            _ = self.hang_up.recv() => WakeReason::Stop("SIGHUP"),
            _ = self.resize.recv() => WakeReason::Redraw,
            _ = self.resume.recv() => WakeReason::Resume,
        }
    }
}
