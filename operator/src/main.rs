//! The command `adit-operator`.

use adit_operator::{
    error_chain::error_chain,
    probe::probe,
    run::{self, RunError},
    settings::{Action, CommandLine, LogFormat, Settings, unknown_variables},
};
use clap::Parser;
use std::{error::Error, io::Write, path::Path, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    match command_line.action {
        Some(Action::Crds { dir }) => match dir.as_deref().map_or_else(print_crds, write_crds) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: cannot write the definitions [io]\n  why:   {error}");
                ExitCode::FAILURE
            }
        },
        Some(Action::Probe { url }) => match block_on_probe(&url) {
            Ok(body) => {
                print!("{body}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: the probe failed [probe]\n  why:   {}", error_chain(error.as_ref()));
                ExitCode::FAILURE
            }
        },
        None => {
            let unknown = unknown_variables(std::env::vars());
            if !unknown.is_empty() {
                eprintln!("error: the environment has mistakes [config]\n  {}", unknown.join("\n  "));
                return ExitCode::from(2);
            }
            operate(command_line.settings)
        }
    }
}

fn block_on_probe(url: &str) -> Result<String, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(probe(url))?)
}

fn operate(settings: Settings) -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("no provider was installed before");
    log_to_stderr(&settings);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start a runtime [runtime]\n  why:   {error}");
            return ExitCode::FAILURE;
        }
    };
    let done: Result<(), RunError> = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signals(stop.clone()));
        run::run(settings, stop).await
    });
    if let Err(error) = done {
        tracing::error!(error = error_chain(&error), "operator failed");
        // At once: nothing that it began may run beside the next leader.
        std::process::exit(1);
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ExitCode::SUCCESS
}

async fn stop_on_signals(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals; only SIGKILL ends the operator");
        return;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    tracing::info!("shutting down");
    stop.cancel();
}

fn log_to_stderr(settings: &Settings) {
    let filter = tracing_subscriber::EnvFilter::new(&settings.log);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(false).init(),
    }
}

fn print_crds() -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for (_, text) in adit_api::yaml() {
        write!(stdout, "---\n{text}")?;
    }
    Ok(())
}

fn write_crds(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    adit_api::yaml().into_iter().try_for_each(|(file, text)| std::fs::write(dir.join(file), text))
}
