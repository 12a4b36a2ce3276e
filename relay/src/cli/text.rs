//! The commands that only print text.

use super::{CliError, Shell, inspect};
use crate::config::Inspection;
use std::{fmt::Write, path::Path};

/// The output of `adit-relay check` for a valid configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(config: Option<&Path>) -> Result<String, CliError> {
    let Inspection { config: read, unchecked } = inspect(config)?;
    let summary = read.summary();
    let place = config.map_or("the environment".to_owned(), |file| file.display().to_string());
    let limits = if unchecked.is_empty() { "" } else { " as far as this user may read it" };
    let mut text = format!("{place} is valid{limits}\n");
    let width = summary.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in summary {
        writeln!(text, "  {name:<width$}  {value}").expect("writing to a String cannot fail");
    }
    if !unchecked.is_empty() {
        text.push_str("not checked, because this user may not read them:\n");
        for path in unchecked {
            writeln!(text, "  {}", path.display()).expect("writing to a String cannot fail");
        }
        text.push_str("to check them too, run the same command as the relay's user\n");
    }
    Ok(text)
}

/// The output of `adit-relay completions`.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "adit-relay", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
