//! Output on stdout and stderr: results, events, log lines, or the live view.

use super::{
    display_state::DisplayState,
    line::Line,
    log,
    number::{self, Clock},
    painter::Painter,
    terminal,
    view::{self, Frame},
    writer::Writer,
};
use crate::{
    event::{Event, EventKind, Time, TunnelState},
    problem::Problem,
};
use adit_protocol::TunnelId;
use std::{
    collections::{HashMap, VecDeque},
    io,
    time::Duration,
};

/// The most lines that scroll in one frame; of more, only the number is shown.
const MAX_SCROLLED_LINES: usize = 200;

/// The most rows that one scrolling line takes on a narrow terminal.
const MAX_ROWS_PER_LINE: usize = 4;

/// Time within which the same notice is not repeated: relays report a reached limit every second.
const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// How a run shows itself on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputMode {
    /// A block that is redrawn, and requests above it.
    Live,
    /// One line for each change.
    Log,
    /// One line for each change and each request.
    Verbose,
    /// Errors alone.
    Quiet,
}

/// Decides how a run shows itself.
pub(super) fn mode(quiet: bool, verbose: bool, json: bool, stderr_can_redraw: bool) -> OutputMode {
    match (quiet || json, verbose) {
        (_, true) => OutputMode::Verbose,
        (true, _) => OutputMode::Quiet,
        _ if stderr_can_redraw => OutputMode::Live,
        _ => OutputMode::Log,
    }
}

/// A line that scrolls in the next frame.
enum ScrolledLine {
    Text(Line),
    /// A request or connection. It is formatted when it is drawn, because under load most are skipped.
    Exchange(Box<Event>),
}

/// The two streams of a run.
pub(super) struct Output {
    pub(super) stdout: Writer,
    pub(super) stderr: Writer,
    pub(super) mode: OutputMode,
    /// Whether events go to stdout as JSON.
    pub(super) json: bool,
    /// Whether URLs go to stdout.
    pub(super) urls: bool,
    pub(super) color: bool,
    pub(super) clock: Clock,
    /// Whether there is a keyboard.
    pub(super) keys: bool,
    painter: Painter,
    scrolled: VecDeque<ScrolledLine>,
    /// Lines that did not fit.
    skipped: u64,
    /// The last notice.
    noticed: Option<(Time, String)>,
    /// The URL of each tunnel that stdout has got.
    printed: HashMap<TunnelId, String>,
}

impl Output {
    /// Both streams of this process.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn new(
        mode: OutputMode,
        json: bool,
        urls: bool,
        color: bool,
        clock: Clock,
    ) -> io::Result<Self> {
        Ok(Self {
            stdout: Writer::start("adit-stdout", io::stdout())?,
            stderr: Writer::start("adit-stderr", io::stderr())?,
            mode,
            json,
            urls,
            color,
            clock,
            keys: false,
            painter: Painter::default(),
            scrolled: VecDeque::new(),
            skipped: 0,
            noticed: None,
            printed: HashMap::new(),
        })
    }

    /// Whether there is room for another event: JSON loses none here.
    pub(super) fn has_room(&self) -> bool {
        !self.json || self.stdout.sink.has_room()
    }

    /// Takes an event. `before` is the state before it.
    pub(super) fn event(&mut self, event: &Event, before: &DisplayState) {
        if self.json {
            if let Ok(mut line) = serde_json::to_vec(event) {
                line.push(b'\n');
                self.stdout.sink.write(&line);
            }
        } else {
            self.url(event);
        }
        match self.mode {
            OutputMode::Log | OutputMode::Verbose => {
                if let Some(line) = log::line(event, before, self.mode == OutputMode::Verbose) {
                    self.say(&line);
                }
            }
            OutputMode::Live | OutputMode::Quiet => {}
        }
        match &event.kind {
            EventKind::Notice(problem) if self.is_news(&problem.code, event.time) => {
                self.problem(problem, false);
            }
            EventKind::Error(problem) if !problem.fatal => self.problem(problem, true),
            _ => {}
        }
    }

    /// Prints a tunnel's URL once it answers.
    fn url(&mut self, event: &Event) {
        use TunnelState::{Connected, Limited, Paused, ServiceDown};
        let EventKind::TunnelState(status) = &event.kind else { return };
        let Some(url) = status.url.as_ref().filter(|_| self.urls) else { return };
        let answers = matches!(status.state, Connected | Limited | Paused | ServiceDown);
        if answers && self.printed.get(&status.tunnel) != Some(url) {
            self.stdout.sink.write(format!("{}\n", Line::plain(url).text()).as_bytes());
            self.printed.insert(status.tunnel.clone(), url.clone());
        }
    }

    /// Whether a notice is new within [`NOTICE_INTERVAL`].
    fn is_news(&mut self, code: &str, now: Time) -> bool {
        let again = self
            .noticed
            .as_ref()
            .is_some_and(|(at, known)| known == code && now.since(*at) < NOTICE_INTERVAL);
        if again || self.mode == OutputMode::Quiet {
            return false;
        }
        self.noticed = Some((now, code.to_owned()));
        true
    }

    /// Prints a problem: what happened, why, and what to do.
    pub(super) fn problem(&mut self, problem: &Problem, is_error: bool) {
        for line in view::problem_lines(problem, is_error) {
            if self.mode == OutputMode::Live {
                self.scroll(ScrolledLine::Text(line));
            } else {
                let text = line.paint(self.color);
                self.say(&text);
            }
        }
    }

    /// Logs a remark for people, outside the live view.
    pub(super) fn remark(&mut self, text: &str) {
        match self.mode {
            OutputMode::Live | OutputMode::Quiet => {}
            OutputMode::Log | OutputMode::Verbose => {
                self.say(&format!("{} {text}", Time::now().to_seconds()));
            }
        }
    }

    fn say(&mut self, line: &str) {
        if self.skipped > 0
            && self.stderr.sink.write(format!("{} lines were not read in time\n", self.skipped).as_bytes())
        {
            self.skipped = 0;
        }
        if !self.stderr.sink.write(format!("{line}\n").as_bytes()) {
            self.skipped += 1;
        }
    }

    /// Shows a request or connection in the next frame.
    pub(super) fn exchange(&mut self, event: Event) {
        if self.mode == OutputMode::Live {
            self.scroll(ScrolledLine::Exchange(Box::new(event)));
        }
    }

    fn scroll(&mut self, line: ScrolledLine) {
        if self.scrolled.len() == MAX_SCROLLED_LINES {
            self.scrolled.pop_front();
            self.skipped += 1;
        }
        self.scrolled.push_back(line);
    }

    /// Takes the lines that scroll.
    fn take_scrolled(&mut self, state: &DisplayState, width: usize) -> Vec<Line> {
        let mut lines = Vec::with_capacity(self.scrolled.len() + 1);
        if self.skipped > 0 {
            lines.push(Line::plain(format!("... {} more", number::count(self.skipped))));
            self.skipped = 0;
        }
        let clock = self.clock;
        lines.extend(self.scrolled.drain(..).filter_map(|scrolled| match scrolled {
            ScrolledLine::Text(line) => Some(line.cut(width * MAX_ROWS_PER_LINE)),
            ScrolledLine::Exchange(event) => view::exchange_line(&event, state, clock, width),
        }));
        lines
    }

    /// Draws the live view, unless the terminal has not taken the last frame yet. Answers whether it was drawn.
    pub(super) fn draw(&mut self, state: &DisplayState, now: Time) -> bool {
        if self.mode != OutputMode::Live {
            return true;
        }
        if !self.stderr.sink.is_idle() {
            return false;
        }
        let (width, height) = terminal::size();
        let frame = Frame { now, width, height, clock: self.clock, keys: self.keys };
        let scrolled = self.take_scrolled(state, width);
        let bytes = self.painter.frame(&scrolled, &view::block(state, &frame), width, self.color);
        self.stderr.sink.write(&bytes)
    }

    /// Draws the next block below the present output, after another job has used the terminal.
    pub(super) fn redraw(&mut self) {
        self.painter.forget();
    }

    /// Ends the live view; later lines go below its last block.
    pub(super) fn end_live(&mut self, state: &DisplayState) {
        if self.mode == OutputMode::Live {
            self.mode = OutputMode::Log;
            for line in self.take_scrolled(state, terminal::size().0) {
                self.say(&line.paint(self.color));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_quiet_leave_stderr_to_errors_and_verbose_wins() {
        assert_eq!(mode(false, false, false, true), OutputMode::Live);
        assert_eq!(mode(false, false, false, false), OutputMode::Log);
        assert_eq!(mode(true, false, false, true), OutputMode::Quiet);
        assert_eq!(mode(false, false, true, true), OutputMode::Quiet);
        assert_eq!(mode(false, true, true, true), OutputMode::Verbose);
    }
}
