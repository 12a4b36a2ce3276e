//! Commands that run a client, or check one: `adit http`, `tcp`, `start`, `check`, and `replay`.

use super::{
    args::{Cli, Global, TokenFlags},
    display_state::DisplayState,
    file, folder,
    number::Clock,
    output::{Output, OutputMode},
    run::Run,
    service_lock::ServiceLock,
    settings::{self, DisplayOptions, Environment, Settings},
    source::{Replay, Source},
    status::{snapshot::ClientInfo, socket::Socket},
    streams::{CommandFailure, Streams, print},
    terminal::Keyboard,
    verbose,
};
use crate::{
    client::{Client, ClientBuilder},
    event::{Event, EventKind, Time},
    problem::Problem,
};
use std::{io, path::Path};

/// `adit http`, `adit tcp`, `adit start`.
pub(super) fn publish(
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
    let mut locks = vec![];
    if let Some(folder) = folder.as_deref().filter(|_| !settings.force) {
        locks = lock_services(&mut settings, folder, &mut output)?;
    }
    let requests = output.json || matches!(output.mode, OutputMode::Live | OutputMode::Verbose);
    let region = settings.relay.domain().to_owned();
    let config = settings.config.as_ref().map(|path| path.display().to_string());
    let enabled = settings.tunnels.iter().map(|tunnel| tunnel.enabled).collect::<Vec<_>>();
    let state = DisplayState::new(settings.many, Time::now());
    let client = client_builder(settings).start().map_err(|error| start_failed(error.problems()))?;
    let ids = client.tunnels();
    for (lock, id) in
        locks.iter().zip(ids.iter().zip(&enabled).filter(|(_, enabled)| **enabled).map(|(id, _)| id))
    {
        if let Some(lock) = lock {
            lock.note(Some(id));
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
    let keyboard = if output.mode == OutputMode::Live { Keyboard::open() } else { None };
    let source = Source::of_client(client, requests);
    let code = Run { state, source, output, info, socket, keyboard }.run_to_end().await.map_err(internal)?;
    drop(locks);
    Ok(code)
}

/// Locks each enabled service for this client, and leaves out tunnels whose services another client has locked.
fn lock_services(
    settings: &mut Settings,
    folder: &Path,
    output: &mut Output,
) -> Result<Vec<Option<ServiceLock>>, CommandFailure> {
    let mut locks = vec![];
    let mut refused = vec![];
    settings.tunnels.retain(|tunnel| {
        if !tunnel.enabled {
            return true;
        }
        match ServiceLock::take(folder, &tunnel.service) {
            Ok(lock) => locks.push(lock),
            Err(problem) => {
                let name = tunnel.name.as_deref();
                refused.push(name.map_or(problem.clone(), |name| problem.with("name", name)));
                return false;
            }
        }
        true
    });
    if locks.is_empty()
        && let Some(problem) = refused.pop()
    {
        return Err(CommandFailure { problem, earlier: refused, lines: vec![] });
    }
    let state = DisplayState::new(settings.many, Time::now());
    for problem in refused {
        output.event(&Event::now(EventKind::Error(problem)), &state);
    }
    Ok(locks)
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

/// The failure of a client that did not start, with all of its problems.
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
pub(super) fn replay(
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
        let keyboard = if output.mode == OutputMode::Live { Keyboard::open() } else { None };
        let state = DisplayState::new(many, Time::now());
        Run { state, source, output, info, socket: None, keyboard }.run_to_end().await.map_err(internal)
    })
}

/// `adit check`: counts the tunnels that `adit start` would open, or reports all errors of the file.
pub(super) fn check(cli: &Cli, token_flags: TokenFlags) -> Result<u8, CommandFailure> {
    let settings = settings::gather(cli, token_flags, &Environment::of_process())?;
    let config = settings.config.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let enabled = settings.tunnels.iter().filter(|tunnel| tunnel.enabled).count();
    let disabled = settings.tunnels.len() - enabled;
    client_builder(settings).validate().map_err(|error| start_failed(error.problems()))?;
    let tunnels = if enabled == 1 { "tunnel" } else { "tunnels" };
    let others = if disabled > 0 { format!(", {disabled} disabled") } else { String::new() };
    Ok(print(format!("{config} is valid: {enabled} {tunnels}{others}\n").as_bytes()))
}
