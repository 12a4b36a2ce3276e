//! Completion of `kubectl adit` by kubectl: it runs the program `kubectl_complete-adit` with the words so far, and reads one
//! candidate per line and then a directive.

use super::command_line::CommandLine;
use clap::{Arg, Command, CommandFactory};

/// The program `kubectl_complete-adit`.
pub(super) const SCRIPT: &str = "\
#!/bin/sh
# kubectl runs this to complete `kubectl adit`. Made by `kubectl adit completions`.
exec kubectl-adit __complete \"$@\"
";

/// cobra's ShellCompDirectiveNoFileComp: the shell does not offer files.
const NO_FILES: &str = ":4\n";
/// cobra's ShellCompDirectiveDefault: the shell offers files.
const FILES: &str = ":0\n";

/// The candidates for the last word, which may be empty, and the directive.
pub(super) fn complete(words: &[String]) -> String {
    let root = {
        let mut root = CommandLine::command();
        root.build();
        root
    };
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let command = subcommand(&root, before);
    if let Some(option) = before.last().and_then(|word| option_with_value(command, word)) {
        let values = option.get_possible_values();
        if values.is_empty() {
            return if option.get_id() == "kubeconfig" { FILES } else { NO_FILES }.to_owned();
        }
        let values = values.iter().map(|value| (value.get_name().to_owned(), value.get_help()));
        return candidates(values.map(|(name, help)| (name, help.map(ToString::to_string))), last);
    }
    let subcommands = command.get_subcommands().filter(|one| !one.is_hide_set());
    let subcommands =
        subcommands.map(|one| (one.get_name().to_owned(), one.get_about().map(ToString::to_string)));
    let options = command.get_arguments().filter_map(|option| {
        let help = option.get_help().map(ToString::to_string);
        Some((format!("--{}", option.get_long()?), help)).filter(|_| !option.is_hide_set())
    });
    if last.starts_with('-') { candidates(options, last) } else { candidates(subcommands, last) }
}

/// The subcommand that the words name. Values of options are no subcommands.
fn subcommand<'a>(root: &'a Command, words: &[String]) -> &'a Command {
    let (mut command, mut is_value) = (root, false);
    for word in words {
        if !is_value && let Some(found) = command.find_subcommand(word) {
            command = found;
        }
        is_value = option_with_value(command, word).is_some();
    }
    command
}

/// The option that a word names, if it takes a value.
fn option_with_value<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let names = |option: &&Arg| {
        let long = option.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short =
            option.get_short().is_some_and(|short| word.strip_prefix('-') == Some(&short.to_string()));
        long || short
    };
    command.get_arguments().filter(|option| option.get_action().takes_values()).find(names)
}

fn candidates(all: impl Iterator<Item = (String, Option<String>)>, prefix: &str) -> String {
    let mut text = String::new();
    for (name, help) in all.filter(|(name, _)| name.starts_with(prefix)) {
        match help {
            Some(help) => text.push_str(&format!("{name}\t{}\n", help.lines().next().unwrap_or_default())),
            None => text.push_str(&format!("{name}\n")),
        }
    }
    text + NO_FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let text = complete(&words);
        assert!(text.lines().last().unwrap().starts_with(':'), "the directive comes last: {text}");
        let candidates = text.lines().filter(|line| !line.starts_with(':'));
        candidates.map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn commands_options_and_values_are_completed() {
        assert_eq!(names("st"), ["status"]);
        assert!(names("").contains(&"completions".to_owned()));
        assert!(!names("").contains(&"__complete".to_owned()), "it is for kubectl alone");
        assert_eq!(names("acknowledge --sc"), ["--scope"]);
        assert_eq!(names("acknowledge --scope "), ["account", "hostname"]);
        assert_eq!(names("status -o "), ["json"]);
        assert_eq!(names("-n tunnels tu"), ["tunnels"]);
        assert_eq!(complete(&["status".to_owned(), "--kubeconfig".to_owned(), String::new()]), FILES);
        assert_eq!(complete(&["tunnels".to_owned(), "--namespace".to_owned(), String::new()]), NO_FILES);
    }

    #[test]
    fn the_script_runs_the_plugin() {
        assert!(SCRIPT.starts_with("#!/bin/sh\n") && SCRIPT.contains("kubectl-adit __complete \"$@\""));
    }
}
