//! The command `adit-operator`.

use adit_operator::settings::{Action, Line, unknown_variables};
use clap::Parser;
use std::{io::Write, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let line = Line::parse();
    let done = match line.action {
        Some(Action::Crds { dir: Some(dir) }) => write_crds(&dir),
        Some(Action::Crds { dir: None }) => print_crds(),
        None => {
            let unknown = unknown_variables(std::env::vars());
            if !unknown.is_empty() {
                eprintln!("error: the environment has mistakes [config]\n  {}", unknown.join("\n  "));
                return ExitCode::from(2);
            }
            eprintln!("error: nothing to do [usage]\n  next:  adit-operator --help");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_crds() -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for (_, text) in adit_api::yaml() {
        writeln!(stdout, "---\n{text}")?;
    }
    Ok(())
}

fn write_crds(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    adit_api::yaml().into_iter().try_for_each(|(file, text)| std::fs::write(dir.join(file), text))
}
