//! Every command that documents, help texts, messages and the chart's notes recommend is one that its program accepts.

use crate::{
    literals::literals,
    markdown::{self, Block},
    programs::{Form, check, is_command, is_mentioned},
    shell,
    sources::{self, Source},
};

/// The commands that were checked, and those that were refused.
#[derive(Default)]
struct Checked {
    count: usize,
    refused: Vec<String>,
}

impl Checked {
    fn script(&mut self, place: &str, script: &str, form: Form) {
        for words in shell::commands(script) {
            self.count += 1;
            if let Err(why) = check(&words, form) {
                self.refused.push(format!("{place}: {}\n    {why}", words.join(" ")));
            }
        }
    }

    /// Commands in a text for people: at the start of a line, behind two spaces, or in a sentence.
    fn text(&mut self, place: &str, text: &str) {
        for line in text.lines() {
            let parts = line.split("  ").map(|part| part.trim().trim_start_matches("$ "));
            for part in parts.filter(|part| !part.is_empty()) {
                if is_command(part) && (is_mentioned(part) || part.contains(" --")) {
                    self.script(place, until_punctuation(part), Form::Whole);
                } else {
                    self.sentence(place, part);
                }
            }
        }
    }

    fn sentence(&mut self, place: &str, sentence: &str) {
        for (start, _) in sentence.match_indices(['a', 'k']) {
            let (before, rest) = sentence.split_at(start);
            let is_start = before.chars().next_back().is_none_or(|c| " `(\"'".contains(c));
            // As in `cargo test -p adit-relay --lib`.
            let is_package = before.ends_with("-p ");
            if is_start && !is_package && is_mentioned(rest) {
                self.script(place, until_punctuation(rest), Form::Mention);
            }
        }
    }

    /// # Panics
    /// If a command was refused, or if so few were found that the extraction must be broken.
    fn assert(self, least: usize) {
        assert!(self.refused.is_empty(), "refused by the program:\n  {}", self.refused.join("\n  "));
        assert!(self.count >= least, "only {} commands were found", self.count);
    }
}

/// A command at the start of a text without the sentence that goes on behind it.
fn until_punctuation(text: &str) -> &str {
    let end = [". ", ", ", "; ", ": ", "`", ")", "\" "].iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())].trim_end_matches(['.', ',', ';', '"'])
}

fn block(checked: &mut Checked, source: &Source, block: &Block) {
    let place = format!("{}:{}", source.path, block.line);
    match block.language.as_str() {
        "sh" => checked.script(&place, &block.text, Form::Whole),
        "console" => {
            let typed: Vec<&str> = block.text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
            checked.script(&place, &typed.join("\n"), Form::Whole);
        }
        "ini" => checked.script(&place, &unit(&block.text), Form::Whole),
        "" => {
            let next = block.text.lines().filter_map(|line| line.trim().strip_prefix("next:"));
            next.for_each(|next| checked.text(&place, next));
        }
        "yaml" | "rust" | "sql" => {}
        other => panic!("{place}: nothing checks the language {other:?}"),
    }
}

/// The commands of a systemd unit.
fn unit(text: &str) -> String {
    let commands = text.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once('='));
    commands.map(|(_, command)| format!("{command}\n")).collect()
}

#[test]
fn commands_in_documents_are_accepted() {
    let mut checked = Checked::default();
    for source in sources::documents() {
        let (blocks, prose) = markdown::split(&source.text);
        blocks.iter().for_each(|found| block(&mut checked, &source, found));
        for (line, span) in markdown::spans(&prose) {
            if is_command(&span) || span.starts_with("make ") {
                checked.script(&format!("{}:{line}", source.path), &span, Form::Mention);
            }
        }
    }
    checked.assert(150);
}

#[test]
fn commands_in_units_examples_and_the_charts_notes_are_accepted() {
    let mut checked = Checked::default();
    for source in sources::below("docs", "service") {
        checked.script(&source.path, &unit(&source.text), Form::Whole);
    }
    for source in sources::below("docs/examples", "yaml") {
        let comments = source.text.lines().filter_map(|line| line.trim().strip_prefix('#'));
        comments.for_each(|comment| checked.text(&source.path, comment));
    }
    for source in sources::below("charts", "txt") {
        let is_directive = |line: &&str| line.starts_with("{{-");
        for line in source.text.lines().filter(|line| !is_directive(line)) {
            checked.text(&source.path, &line.replace("{{ $namespace }}", "tunnels"));
        }
    }
    checked.assert(10);
}

#[test]
fn commands_in_help_texts_and_messages_are_accepted() {
    let mut checked = Checked::default();
    for source in sources::programs() {
        for literal in literals(&source.text) {
            checked.text(&source.path, &literal);
        }
    }
    checked.assert(80);
}

#[test]
fn commands_that_scripts_print_are_accepted() {
    let mut checked = Checked::default();
    for path in ["scripts/run", "scripts/kind/up"] {
        let source = sources::read(path);
        let printed = source.text.split("<<TEXT").skip(1).filter_map(|rest| rest.split_once("\nTEXT"));
        for (printed, _) in printed {
            checked.text(path, &printed.replace("$bin/", ""));
        }
    }
    checked.assert(5);
}
