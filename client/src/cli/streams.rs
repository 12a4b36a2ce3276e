//! The standard streams of a command, and how it fails on them.

use super::{
    args::{self, When},
    line::Line,
    number::Clock,
    output::{self, Output},
    settings::{DisplayOptions, InvalidSettings},
    terminal, view,
};
use crate::{
    event::{Event, EventKind},
    problem::Problem,
};
use std::{
    env,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

/// How a command failed before it ran.
pub(super) struct CommandFailure {
    /// The problem that decides the exit code.
    pub(super) problem: Problem,
    /// Problems that came before it.
    pub(super) earlier: Vec<Problem>,
    /// Details, one line each.
    pub(super) lines: Vec<String>,
}

impl From<InvalidSettings> for CommandFailure {
    fn from(invalid: InvalidSettings) -> Self {
        Self { lines: invalid.lines(), ..invalid.problem().into() }
    }
}

impl From<Problem> for CommandFailure {
    fn from(problem: Problem) -> Self {
        Self { problem, earlier: vec![], lines: vec![] }
    }
}

/// The capabilities of the standard streams.
pub(super) struct Streams {
    stderr_color: bool,
    stderr_can_redraw: bool,
    stdout_is_terminal: bool,
}

impl Streams {
    /// The streams of this process.
    pub(super) fn of_process(color: When) -> Self {
        let term = env::var("TERM").ok();
        let no_color = env::var("NO_COLOR").ok();
        let stderr_is_terminal = io::stderr().is_terminal();
        Self {
            stderr_color: terminal::color(color, stderr_is_terminal, no_color.as_deref(), term.as_deref()),
            stderr_can_redraw: stderr_is_terminal
                && terminal::can_redraw(term.as_deref())
                && !terminal::in_background(),
            stdout_is_terminal: io::stdout().is_terminal(),
        }
    }

    /// Says why a command did not run; with `--json` to programs as well.
    pub(super) fn fail(&self, failed: &CommandFailure, json: bool) {
        let mut lines = view::problem_lines(&failed.problem, true);
        lines.splice(1..1, failed.lines.iter().map(|line| Line::plain(format!("  {line}"))));
        let earlier = failed.earlier.iter().flat_map(|problem| view::problem_lines(problem, true));
        let text: String = earlier.chain(lines).map(|line| line.paint(self.stderr_color) + "\n").collect();
        // If stderr is closed, there is no place left for a message.
        let _ = io::stderr().write_all(text.as_bytes());
        if json {
            let mut problem = failed.problem.clone().fatal();
            if !failed.lines.is_empty() {
                problem = problem.with("errors", failed.lines.clone());
            }
            let stopped =
                EventKind::ClientStopped { exit_code: problem.exit_code(), reason: problem.message.clone() };
            let problems = failed.earlier.iter().cloned().chain([problem]).map(EventKind::Error);
            for event in problems.chain([stopped]).map(Event::now) {
                print(format!("{}\n", serde_json::to_string(&event).unwrap_or_default()).as_bytes());
            }
        }
    }

    /// The output of a run.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn output(&self, display: DisplayOptions, clock: Clock) -> io::Result<Output> {
        let DisplayOptions { json, quiet, verbose, .. } = display;
        let mode = output::mode(quiet, verbose, json, self.stderr_can_redraw);
        // The block shows the URL already, if stdout is the same terminal.
        let shown = mode == output::OutputMode::Live && self.stdout_is_terminal;
        let urls = !json && !shown;
        Output::new(mode, json, urls, self.stderr_color, clock)
    }
}

/// Writes results to stdout; a reader that has enough of them is no failure.
pub(super) fn print(results: &[u8]) -> u8 {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(results).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
        _ => 0,
    }
}

/// Prints an error of clap in the form of all other errors; help and version as they are.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::MissingSubcommand {
        let problem = Problem::new("usage").with("message", "no command given");
        let lines = args::EXAMPLES.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
        let failure = CommandFailure { lines: lines.collect(), ..problem.into() };
        Streams::of_process(When::Auto).fail(&failure, false);
        return ExitCode::from(2);
    }
    let rendered = error.render().to_string();
    let mut paragraphs = rendered.split("\n\n");
    let what = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let what: Vec<&str> = what.lines().map(str::trim).collect();
    let mut problem = Problem::new("usage").with("message", what.join(" "));
    let mut usage = None;
    for paragraph in paragraphs {
        let paragraph = paragraph.trim();
        // clap recommends to pass an unknown flag as a value, which no command here takes.
        if let Some(tip) = paragraph.strip_prefix("tip: ").filter(|tip| !tip.starts_with("to pass")) {
            problem = problem.with("tip", tip.lines().next().unwrap_or(tip));
        } else if let Some(line) = paragraph.strip_prefix("Usage: ") {
            usage = line.lines().next();
        }
    }
    let command: Vec<&str> =
        usage.unwrap_or("adit").split(' ').take_while(|w| !w.starts_with(['[', '<', '-'])).collect();
    problem = problem.with("usage", format!("{} --help", command.join(" ")));
    Streams::of_process(When::Auto).fail(&problem.into(), false);
    ExitCode::from(2)
}
