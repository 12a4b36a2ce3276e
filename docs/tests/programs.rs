//! What each program accepts.

use crate::sources::read;
use clap::{Command, CommandFactory, error::ErrorKind};

/// How much of a command a text gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The whole command, to be typed as it stands.
    Whole,
    /// A part, as in "`adit http` opens …": required arguments may be missing.
    Mention,
}

/// The command line of each program, by the words that it is called by.
pub(crate) fn command_lines() -> [(&'static [&'static str], Command); 4] {
    [
        (&["adit"], adit::cli::command()),
        (&["adit-relay"], adit_relay::cli::command()),
        (&["adit-operator"], adit_operator::settings::CommandLine::command()),
        (&["kubectl", "adit"], adit_operator::plugin::CommandLine::command()),
    ]
}

const KUBECTL_VERBS: [&str; 16] = [
    "annotate",
    "api-resources",
    "apply",
    "create",
    "delete",
    "describe",
    "exec",
    "explain",
    "get",
    "label",
    "logs",
    "patch",
    "port-forward",
    "rollout",
    "scale",
    "wait",
];

/// Checks a command of a text, if it is one of Adit's programs, kubectl or make.
///
/// # Errors
/// Why the program refuses it.
pub(crate) fn check(words: &[String], form: Form) -> Result<(), String> {
    let words = without_prefix(words);
    let Some(program) = words.first() else { return Ok(()) };
    match program.rsplit('/').next().unwrap_or_default() {
        "kubectl" => kubectl(words, form),
        "make" => make(words),
        name => match command_lines().into_iter().find(|(called, _)| *called == [name]) {
            Some((_, command)) => parse(command, words, form),
            None => Ok(()),
        },
    }
}

/// Whether a text begins with the name of a program whose commands [`check`] knows.
pub(crate) fn is_command(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let program = words.next().unwrap_or_default();
    let is_known = ["adit", "adit-relay", "adit-operator", "kubectl"].contains(&program);
    is_known && words.next().is_some() || program == "sudo"
}

/// Whether a text in the middle of a sentence is meant as a command: its second word is a subcommand or a flag.
pub(crate) fn is_mentioned(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let ["kubectl", next, ..] = words[..]
        && (next.starts_with('-') || KUBECTL_VERBS.contains(&next))
    {
        return true;
    }
    command_lines().iter().any(|(called, command)| {
        words.starts_with(called)
            && words.get(called.len()).is_some_and(|next| {
                next.starts_with('-') || command.get_subcommands().any(|known| known.get_name() == *next)
            })
    })
}

/// The words without assignments and `sudo`.
fn without_prefix(mut words: &[String]) -> &[String] {
    loop {
        words = match words {
            [sudo, flag, _, rest @ ..] if sudo == "sudo" && flag == "-u" => rest,
            [sudo, rest @ ..] if sudo == "sudo" => rest,
            [first, rest @ ..] if is_assignment(first) => rest,
            _ => return words,
        }
    }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

fn kubectl(words: &[String], form: Form) -> Result<(), String> {
    if words.get(1).is_some_and(|word| word == "adit") {
        let (_, command) = command_lines().into_iter().last().expect("there are four");
        return parse(command, &words[1..], form);
    }
    // kubectl finds a plugin by the first words only, and refuses flags before them.
    if words.iter().skip(1).take(4).any(|word| word == "adit") && words[1].starts_with('-') {
        return Err("kubectl refuses flags before the name of a plugin: kubectl adit … -n NAMESPACE".into());
    }
    let mut verbs = words.iter().skip(1);
    let mut verb = verbs.next();
    while let Some(flag) = verb.filter(|word| word.starts_with('-')) {
        if !flag.contains('=') {
            verbs.next();
        }
        verb = verbs.next();
    }
    match verb {
        Some(verb) if !KUBECTL_VERBS.contains(&verb.as_str()) => Err(format!("kubectl has no verb {verb}")),
        _ => Ok(()),
    }
}

fn make(words: &[String]) -> Result<(), String> {
    let makefile = read("Makefile").text;
    let is_target = |word: &str| makefile.lines().any(|line| line.starts_with(&format!("{word}:")));
    let mut targets = words.iter().skip(1).filter(|word| !word.starts_with('-') && !is_assignment(word));
    match targets.find(|word| !is_target(word)) {
        Some(word) => Err(format!("the Makefile has no target {word}")),
        None => Ok(()),
    }
}

/// A word that stands for another one, such as NAME, <region>, {namespace} or "…".
fn is_placeholder(word: &str) -> bool {
    let is_upper = |c: char| c.is_ascii_uppercase() || matches!(c, '_' | '-' | '|');
    word.contains(['{', '<', '…']) || word.chars().all(is_upper)
}

fn parse(command: Command, words: &[String], form: Form) -> Result<(), String> {
    let Err(error) = command.try_get_matches_from(words) else { return Ok(()) };
    let is_accepted = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => form == Form::Mention,
        ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::InvalidSubcommand => {
            words.iter().any(|word| is_placeholder(word))
        }
        _ => false,
    };
    let text = error.to_string();
    if is_accepted { Ok(()) } else { Err(text.lines().next().unwrap_or_default().to_owned()) }
}

#[test]
fn a_command_that_its_program_refuses_is_found() {
    let refused = [
        "adit-relay token --account me --audience eu.example.com",
        "adit-relay tokn --account me",
        "sudo -u adit adit-relay chek --config relay.yaml",
        "adit htp 3000",
        "adit http 3000 --nmae shop",
        "adit http",
        "kubectl -n tunnels adit token --account me",
        "kubectl --context=kind adit status",
        "kubectl adit tokens -n tunnels",
        "kubectl adit status --namespaces tunnels",
        "kubectl aply -f region.yaml",
        "adit-operator crd",
        "make chekc",
    ];
    let accepted = [
        "adit-relay token --account me --kinds http,tcp",
        "sudo -u adit adit-relay check --config relay.yaml",
        "ADIT_NAME=shop adit http 3000",
        "adit help CODE",
        "adit-relay admin close SESSION --yes",
        "kubectl adit token -n tunnels --account me",
        "kubectl -n tunnels get regions",
        "adit-operator crds",
        "make bench BENCH=--help",
        "systemctl reload adit-relay",
    ];
    let check = |line: &str| {
        let words: Vec<String> = line.split(' ').map(Into::into).collect();
        check(&words, Form::Whole)
    };
    for line in refused {
        assert!(check(line).is_err(), "{line} is accepted");
    }
    for line in accepted {
        assert_eq!(check(line), Ok(()), "{line}");
    }
}
