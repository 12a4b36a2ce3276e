//! `adit help` and `adit completions`.

use super::args;
use crate::problem::{self, CODES, Explanation, Problem};
use adit_config::nearest;
use std::fmt::Write;

/// The columns that explanations fill.
const WIDTH: usize = 80;

/// The text for a command or a code, or for the whole program.
///
/// # Errors
/// `usage` for a topic that there is not.
pub(super) fn topic(topic: Option<&str>) -> Result<String, Problem> {
    let mut command = args::command();
    let Some(topic) = topic else { return Ok(command.render_help().to_string()) };
    let code = topic.trim_matches(['[', ']']);
    if let Some(explanation) = problem::explanation(code) {
        return Ok(explain(explanation));
    }
    // Built, so that the flags of all commands are in it.
    command.build();
    if let Some(command) = command.get_subcommands_mut().find(|c| c.get_name() == topic) {
        return Ok(command.render_help().to_string());
    }
    let commands = command.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name);
    let near = nearest(code, CODES.iter().map(|e| e.code).chain(commands));
    let problem =
        Problem::new("usage").with("message", format!("{topic:.80?} is neither a command nor a code"));
    Err(match near {
        Some(near) => problem.with("usage", format!("adit help {near}")),
        None => problem,
    })
}

/// One code at length.
fn explain(explanation: &Explanation) -> String {
    let problem = Problem::new(explanation.code);
    let mut text = format!("{}: {}\n\n{}\n", explanation.code, problem.message, wrap(explanation.about));
    if let Some(next) = &problem.next {
        let _ = writeln!(text, "\n  next:  {next}");
    }
    let _ = writeln!(text, "\nHTTP status {}, exit code {}.", explanation.status, explanation.exit_code);
    text
}

fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = adit_terminal::width(word);
        if column > 0 && column + 1 + length > WIDTH {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// The completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let all = args::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut command = clap::Command::new("adit")
        .disable_help_subcommand(true)
        .args(all.get_arguments().cloned())
        .subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "adit", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_within_the_width() {
        for explanation in CODES {
            let text = topic(Some(explanation.code)).unwrap();
            assert!(text.starts_with(&format!("{}: ", explanation.code)), "{text}");
            let about = wrap(explanation.about);
            assert!(about.lines().all(|line| line.chars().count() <= WIDTH), "{about}");
        }
        assert_eq!(topic(Some("[name_taken]")).unwrap(), topic(Some("name_taken")).unwrap());
    }

    #[test]
    fn commands_are_explained_and_near_misses_named() {
        assert!(topic(Some("http")).unwrap().contains("adit http 3000"));
        assert!(topic(Some("http")).unwrap().contains("--relay"), "flags of all commands are there");
        assert!(topic(None).unwrap().contains("adit tcp 22"));
        let error = topic(Some("name_takn")).unwrap_err();
        assert_eq!(error.message, "\"name_takn\" is neither a command nor a code");
        assert_eq!(error.next.as_deref(), Some("adit help name_taken"));
        assert_eq!(topic(Some("zzzzzzzzzzzz")).unwrap_err().next.as_deref(), Some("adit --help"));
    }

    #[test]
    fn completions_know_the_commands_but_no_hidden_one() {
        let script = String::from_utf8(completions(clap_complete::Shell::Bash)).unwrap();
        assert!(script.contains("--token-file") && script.contains("status") && !script.contains("replay"));
    }
}
