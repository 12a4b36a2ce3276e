//! The command `adit`: arguments, files, the terminal.

mod args;
mod desktop;
mod display_state;
mod file;
mod folder;
mod help;
mod line;
mod log;
mod number;
mod output;
mod painter;
mod run;
#[cfg(test)]
mod script;
mod service_lock;
mod settings;
mod source;
mod status;
mod terminal;
mod values;
mod verbose;
mod view;
mod writer;

use crate::{
    client::{Client, ClientBuilder},
    event::{Event, EventKind, Time},
    problem::Problem,
};
use args::{Cli, Command, Global, TokenFlags, When};
use display_state::DisplayState;
use line::Line;
use number::Clock;
use output::Output;
use run::Run;
use service_lock::ServiceLock;
use settings::{DisplayOptions, Environment, InvalidSettings, Settings};
use source::{Replay, Source};
use status::{snapshot::ClientInfo, socket::Socket};
use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};
use terminal::Keyboard;

/// How a command failed before it ran.
struct CommandFailure {
    /// What went wrong; the last decides the exit code.
    problem: Problem,
    /// What went wrong before.
    earlier: Vec<Problem>,
    /// More about it, one line each.
    lines: Vec<String>,
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

/// Runs the command with the arguments of this process.
pub fn main() -> ExitCode {
    // While there is only one thread.
    let clock = Clock::local();
    let args: Vec<OsString> = env::args_os().collect();
    let (cli, token_flags) = match args::read(args) {
        Ok(read) => read,
        Err(error) => return usage(&error),
    };
    let streams = Streams::of_process(cli.global.color.unwrap_or(When::Auto));
    let ended = match &cli.command {
        Command::Help { topic } => {
            help::topic(topic.as_deref()).map(|text| print(text.as_bytes())).map_err(CommandFailure::from)
        }
        Command::Check => check(&cli, token_flags),
        Command::Completions { shell } => Ok(print(&help::completions(*shell))),
        Command::Status(which) => Ok(show_status(which, cli.global.json)),
        Command::Replay { file, many } => replay(file, *many, &cli.global, &streams, clock),
        Command::Http(_) | Command::Tcp(_) | Command::Start(_) => publish(&cli, token_flags, &streams, clock),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            let code = failed.problem.exit_code();
            streams.fail(&failed, cli.global.json);
            ExitCode::from(code)
        }
    }
}

/// What the standard streams are.
struct Streams {
    stderr_color: bool,
    stderr_can_redraw: bool,
    stdout_is_terminal: bool,
}

impl Streams {
    fn of_process(color: When) -> Self {
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
    fn fail(&self, failed: &CommandFailure, json: bool) {
        let mut lines = view::problem_lines(&failed.problem, true);
        lines.splice(1..1, failed.lines.iter().map(|line| Line::plain(format!("  {line}"))));
        let earlier = failed.earlier.iter().flat_map(|problem| view::problem_lines(problem, true));
        let text: String = earlier.chain(lines).map(|line| line.paint(self.stderr_color) + "\n").collect();
        // Nobody is left who could be told that nobody listens.
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

    fn output(&self, display: DisplayOptions, clock: Clock) -> io::Result<Output> {
        let DisplayOptions { json, quiet, verbose, .. } = display;
        let mode = output::mode(quiet, verbose, json, self.stderr_can_redraw);
        // The block shows the URL already, if stdout is the same terminal.
        let shown = mode == output::OutputMode::Live && self.stdout_is_terminal;
        let urls = !json && !shown;
        Output::new(mode, json, urls, self.stderr_color, clock)
    }
}

/// Writes results to stdout; a reader that has enough of them is no failure.
fn print(results: &[u8]) -> u8 {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(results).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
        _ => 0,
    }
}

/// What clap has to say, in the words of all other errors.
fn usage(error: &clap::Error) -> ExitCode {
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
        if let Some(tip) = paragraph.strip_prefix("tip: ") {
            problem = problem.with("tip", tip.lines().next().unwrap_or(tip));
        } else if let Some(line) = paragraph.strip_prefix("Usage: ") {
            usage = line.lines().next();
        }
    }
    let command: Vec<&str> =
        usage.unwrap_or("adit").split(' ').take_while(|w| !w.starts_with(['[', '<', '-'])).collect();
    problem = problem.with("usage", format!("{} --help", command.join(" ")));
    let stderr = io::stderr();
    let term = env::var("TERM").ok();
    let no_color = env::var("NO_COLOR").ok();
    let color = terminal::color(When::Auto, stderr.is_terminal(), no_color.as_deref(), term.as_deref());
    let streams = Streams { stderr_color: color, stderr_can_redraw: false, stdout_is_terminal: false };
    streams.fail(&problem.into(), false);
    ExitCode::from(2)
}

/// `adit check`: says what `adit start` would open, or everything that is wrong with it.
fn check(cli: &Cli, token_flags: TokenFlags) -> Result<u8, CommandFailure> {
    let settings = settings::gather(cli, token_flags, &Environment::of_process())?;
    let config = settings.config.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let enabled = settings.tunnels.iter().filter(|tunnel| tunnel.enabled).count();
    let disabled = settings.tunnels.len() - enabled;
    client_builder(settings).validate().map_err(|error| start_failed(error.problems()))?;
    let tunnels = if enabled == 1 { "tunnel" } else { "tunnels" };
    let others = if disabled > 0 { format!(", {disabled} disabled") } else { String::new() };
    Ok(print(format!("{config} is valid: {enabled} {tunnels}{others}\n").as_bytes()))
}

fn show_status(which: &args::Status, json: bool) -> u8 {
    let directory = env::current_dir().unwrap_or_default();
    let answer = status::ask(which, json, &directory);
    print(answer.results.as_bytes());
    for remark in answer.remarks {
        let _ = writeln!(io::stderr(), "{}", Line::plain(remark).text());
    }
    answer.exit_code
}

/// `adit http`, `adit tcp`, `adit start`.
fn publish(
    cli: &Cli,
    token_flags: TokenFlags,
    streams: &Streams,
    clock: Clock,
) -> Result<u8, CommandFailure> {
    let environment = Environment::of_process();
    let settings = settings::gather(cli, token_flags, &environment)?;
    let display = settings.display;
    if display.verbose {
        verbose::log_library();
    }
    let streams = if cli.global.color.is_some() { streams } else { &Streams::of_process(display.color) };
    let output = streams.output(display, clock).map_err(internal)?;
    runtime().map_err(internal)?.block_on(run_client(settings, output, &environment.directory))
}

fn internal(error: io::Error) -> CommandFailure {
    Problem::new("internal").with("message", error.to_string()).into()
}

/// One thread: the client's sessions have their own.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()
}

async fn run_client(
    mut settings: Settings,
    mut output: Output,
    directory: &Path,
) -> Result<u8, CommandFailure> {
    let folder = folder::runtime();
    let mut claims = vec![];
    if let Some(folder) = folder.as_deref().filter(|_| !settings.force) {
        claims = claim_services(&mut settings, folder, &mut output)?;
    }
    let requests =
        output.json || matches!(output.mode, output::OutputMode::Live | output::OutputMode::Verbose);
    let region = settings.relay.domain().to_owned();
    let config = settings.config.as_ref().map(|path| path.display().to_string());
    let enabled = settings.tunnels.iter().map(|tunnel| tunnel.enabled).collect::<Vec<_>>();
    let state = DisplayState::new(settings.many, Time::now());
    let client = client_builder(settings).start().map_err(|error| start_failed(error.problems()))?;
    let ids = client.tunnels();
    for (claim, id) in
        claims.iter().zip(ids.iter().zip(&enabled).filter(|(_, enabled)| **enabled).map(|(id, _)| id))
    {
        if let Some(claim) = claim {
            claim.note(Some(id));
        }
    }
    let started = EventKind::ClientStarted {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        config: config.clone(),
        inspect: None,
    };
    output.event(&Event::now(started), &state);
    let socket = folder.as_deref().map(Socket::bind).and_then(|bound| {
        bound
            .map_err(|error| output.remark(&format!("`adit status` will not find this client: {error}")))
            .ok()
    });
    let info =
        ClientInfo { started_at: Time::now(), region, directory: directory.display().to_string(), config };
    let keyboard = if output.mode == output::OutputMode::Live { Keyboard::open() } else { None };
    let source = Source::of_client(client, requests);
    let code = Run { state, source, output, info, socket, keyboard }.run_to_end().await.map_err(internal)?;
    drop(claims);
    Ok(code)
}

/// Takes each enabled service for this client. Tunnels whose services others have are left out.
fn claim_services(
    settings: &mut Settings,
    folder: &Path,
    output: &mut Output,
) -> Result<Vec<Option<ServiceLock>>, CommandFailure> {
    let mut claims = vec![];
    let mut refused = vec![];
    settings.tunnels.retain(|tunnel| {
        if !tunnel.enabled {
            return true;
        }
        match ServiceLock::take(folder, &tunnel.service) {
            Ok(claim) => claims.push(claim),
            Err(problem) => {
                let name = tunnel.name.as_deref();
                refused.push(name.map_or(problem.clone(), |name| problem.with("name", name)));
                return false;
            }
        }
        true
    });
    if claims.is_empty()
        && let Some(problem) = refused.pop()
    {
        return Err(CommandFailure { problem, earlier: refused, lines: vec![] });
    }
    let state = DisplayState::new(settings.many, Time::now());
    for problem in refused {
        output.event(&Event::now(EventKind::Error(problem)), &state);
    }
    Ok(claims)
}

fn client_builder(settings: Settings) -> ClientBuilder {
    let mut builder = Client::builder().relay(settings.relay.to_string());
    if let Some(token) = settings.token {
        builder = builder.token_source(token);
    }
    if let Some(ca) = settings.ca {
        builder = builder.ca(ca);
    }
    if let Some(folder) = folder::lasting() {
        // A folder that cannot be made is refused once a token would be spent for nothing.
        let _ = folder::make_private(&folder);
        builder = builder.state_dir(folder);
    }
    if let Some(time) = settings.give_up_after {
        builder = builder.give_up_after(time);
    }
    settings.tunnels.into_iter().fold(builder, ClientBuilder::tunnel)
}

/// The library checks again what this command has checked, and what only it can: files of authorities, proxies.
fn start_failed(problems: &[Problem]) -> CommandFailure {
    match problems {
        [problem] => problem.clone().into(),
        _ => {
            let line =
                |p: &Problem| p.why.as_ref().map_or_else(|| p.to_string(), |why| format!("{p}: {why}"));
            CommandFailure {
                lines: problems.iter().map(line).collect(),
                ..Problem::new("config_invalid").into()
            }
        }
    }
}

/// `adit replay`.
fn replay(
    file: &Path,
    many: bool,
    global: &Global,
    streams: &Streams,
    clock: Clock,
) -> Result<u8, CommandFailure> {
    let unreadable = |error: io::Error| {
        let message = format!("{}: {error}", file.display());
        CommandFailure::from(Problem::new("usage").with("message", message))
    };
    runtime().map_err(internal)?.block_on(async {
        let source = Source::Replay(Replay::read(file).map_err(unreadable)?);
        let display = DisplayOptions::new(global, &file::File::default());
        let output = streams.output(display, clock).map_err(internal)?;
        let info = ClientInfo {
            started_at: Time::now(),
            region: "replay".into(),
            directory: String::new(),
            config: None,
        };
        let keyboard = if output.mode == output::OutputMode::Live { Keyboard::open() } else { None };
        let state = DisplayState::new(many, Time::now());
        Run { state, source, output, info, socket: None, keyboard }.run_to_end().await.map_err(internal)
    })
}
