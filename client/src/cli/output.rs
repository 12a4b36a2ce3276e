//! What goes to stdout and stderr: results, events, log lines, or the live view.

use super::{
    line::Line,
    log,
    number::{self, Clock},
    painter::Painter,
    state::State,
    terminal,
    view::{self, Frame},
    writer::Writer,
};
use crate::{
    event::{Event, Time, TunnelState, What},
    problem::Problem,
};
use adit_protocol::TunnelId;
use std::{
    collections::{HashMap, VecDeque},
    io,
    time::Duration,
};

/// The most lines that scroll in one frame; of more, only the number is shown.
const SCROLLED: usize = 200;

/// The most rows that one scrolling line takes on a narrow terminal.
const ROWS: usize = 4;

/// How long the same notice is not repeated: a limit that is reached is told every second.
const NOTICE: Duration = Duration::from_secs(60);

/// How a run shows itself on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
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
pub(super) fn manner(quiet: bool, verbose: bool, json: bool, stderr_can_redraw: bool) -> Manner {
    match (quiet || json, verbose) {
        (_, true) => Manner::Verbose,
        (true, _) => Manner::Quiet,
        _ if stderr_can_redraw => Manner::Live,
        _ => Manner::Log,
    }
}

/// What scrolls in the next frame.
enum Scrolled {
    Line(Line),
    /// A request or connection. Most of many are never shown, so that none is put into words before.
    Exchange(Box<Event>),
}

/// The two streams of a run.
pub(super) struct Output {
    pub(super) stdout: Writer,
    pub(super) stderr: Writer,
    pub(super) manner: Manner,
    /// Whether events go to stdout as JSON.
    pub(super) json: bool,
    /// Whether URLs go to stdout.
    pub(super) urls: bool,
    pub(super) color: bool,
    pub(super) clock: Clock,
    /// Whether there is a keyboard.
    pub(super) keys: bool,
    painter: Painter,
    scrolled: VecDeque<Scrolled>,
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
    pub(super) fn new(manner: Manner, json: bool, urls: bool, color: bool, clock: Clock) -> io::Result<Self> {
        Ok(Self {
            stdout: Writer::start("adit-stdout", io::stdout())?,
            stderr: Writer::start("adit-stderr", io::stderr())?,
            manner,
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
    pub(super) fn event(&mut self, event: &Event, before: &State) {
        if self.json {
            if let Ok(mut line) = serde_json::to_vec(event) {
                line.push(b'\n');
                self.stdout.sink.write(&line);
            }
        } else {
            self.url(event);
        }
        match self.manner {
            Manner::Log | Manner::Verbose => {
                if let Some(line) = log::line(event, before, self.manner == Manner::Verbose) {
                    self.say(&line);
                }
            }
            Manner::Live | Manner::Quiet => {}
        }
        match &event.what {
            What::Notice(problem) if self.is_news(&problem.code, event.time) => self.problem(problem, false),
            What::Error(problem) if !problem.fatal => self.problem(problem, true),
            _ => {}
        }
    }

    /// Prints a tunnel's URL once it answers.
    fn url(&mut self, event: &Event) {
        use TunnelState::{Connected, Limited, Paused, ServiceDown};
        let What::TunnelState(status) = &event.what else { return };
        let Some(url) = status.url.as_ref().filter(|_| self.urls) else { return };
        let answers = matches!(status.state, Connected | Limited | Paused | ServiceDown);
        if answers && self.printed.get(&status.tunnel) != Some(url) {
            self.stdout.sink.write(format!("{}\n", Line::plain(url).text()).as_bytes());
            self.printed.insert(status.tunnel.clone(), url.clone());
        }
    }

    /// Whether a notice says something that has not been said within the last minute.
    fn is_news(&mut self, code: &str, now: Time) -> bool {
        let again = self.noticed.as_ref().is_some_and(|(at, known)| known == code && now.since(*at) < NOTICE);
        if again || self.manner == Manner::Quiet {
            return false;
        }
        self.noticed = Some((now, code.to_owned()));
        true
    }

    /// Says what happened, why, and what to do.
    pub(super) fn problem(&mut self, problem: &Problem, is_error: bool) {
        for line in view::problem_lines(problem, is_error) {
            if self.manner == Manner::Live {
                self.scroll(Scrolled::Line(line));
            } else {
                let text = line.paint(self.color);
                self.say(&text);
            }
        }
    }

    /// Says something that is for people alone.
    pub(super) fn remark(&mut self, text: &str) {
        match self.manner {
            Manner::Live | Manner::Quiet => {}
            Manner::Log | Manner::Verbose => self.say(&format!("{} {text}", Time::now().to_seconds())),
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
        if self.manner == Manner::Live {
            self.scroll(Scrolled::Exchange(Box::new(event)));
        }
    }

    fn scroll(&mut self, line: Scrolled) {
        if self.scrolled.len() == SCROLLED {
            self.scrolled.pop_front();
            self.skipped += 1;
        }
        self.scrolled.push_back(line);
    }

    /// Takes the lines that scroll.
    fn take_scrolled(&mut self, state: &State) -> Vec<Line> {
        let mut lines = Vec::with_capacity(self.scrolled.len() + 1);
        if self.skipped > 0 {
            lines.push(Line::plain(format!("... {} more", number::count(self.skipped))));
            self.skipped = 0;
        }
        let clock = self.clock;
        lines.extend(self.scrolled.drain(..).filter_map(|scrolled| match scrolled {
            Scrolled::Line(line) => Some(line),
            Scrolled::Exchange(event) => view::exchange_line(&event, state, clock),
        }));
        lines
    }

    /// Draws the live view, unless the terminal has not taken the last frame yet. Answers whether it was drawn.
    pub(super) fn draw(&mut self, state: &State, now: Time) -> bool {
        if self.manner != Manner::Live {
            return true;
        }
        if !self.stderr.sink.is_idle() {
            return false;
        }
        let (width, height) = terminal::size();
        let frame = Frame { now, width, height, clock: self.clock, keys: self.keys };
        let lines = self.take_scrolled(state).into_iter();
        let scrolled: Vec<Line> = lines.map(|line| line.cut(width * ROWS)).collect();
        let bytes = self.painter.frame(&scrolled, &view::block(state, &frame), width, self.color);
        self.stderr.sink.write(&bytes)
    }

    /// The terminal was another job's: the next block begins anew.
    pub(super) fn redraw(&mut self) {
        self.painter.forget();
    }

    /// Leaves the block where it is: what follows goes below it.
    pub(super) fn end_live(&mut self, state: &State) {
        if self.manner == Manner::Live {
            self.manner = Manner::Log;
            for line in self.take_scrolled(state) {
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
        assert_eq!(manner(false, false, false, true), Manner::Live);
        assert_eq!(manner(false, false, false, false), Manner::Log);
        assert_eq!(manner(true, false, false, true), Manner::Quiet);
        assert_eq!(manner(false, false, true, true), Manner::Quiet);
        assert_eq!(manner(false, true, true, true), Manner::Verbose);
    }
}
