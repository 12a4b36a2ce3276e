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
mod publish;
mod run;
#[cfg(test)]
mod script;
mod service_lock;
mod settings;
mod source;
mod status;
mod streams;
mod terminal;
mod values;
mod verbose;
mod view;
mod writer;

use args::{Command, When};
use line::Line;
use number::Clock;
use publish::{check, publish, replay};
use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};
use streams::{CommandFailure, Streams, print, usage};

/// The description of the command line, for tests of documents.
pub fn command() -> clap::Command {
    args::command()
}

/// Validates the text of an adit.yaml; relative paths in it belong to `directory`.
///
/// # Errors
/// Every mistake, one line each.
pub fn check_file(text: &str, directory: &std::path::Path) -> Result<(), Vec<String>> {
    file::parse(text, directory).map(drop)
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

/// `adit status`.
fn show_status(which: &args::Status, json: bool) -> u8 {
    let directory = env::current_dir().unwrap_or_default();
    let answer = status::ask(which, json, &directory);
    print(answer.results.as_bytes());
    for remark in answer.remarks {
        let _ = writeln!(io::stderr(), "{}", Line::plain(remark).text());
    }
    answer.exit_code
}
