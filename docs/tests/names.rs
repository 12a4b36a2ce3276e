//! Flags, variables and links in documents exist.

use crate::{
    markdown,
    programs::command_lines,
    sources::{self, root},
};
use std::{collections::BTreeSet, path::Path};

/// Flags of other programs that documents name.
const FOREIGN_FLAGS: [&str; 1] = ["--build-arg"];

fn flags(command: &clap::Command, found: &mut BTreeSet<String>) {
    found.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")));
    command.get_subcommands().for_each(|command| flags(command, found));
}

/// The variables that a text names, without those that stand for a family, such as `ADIT_…`.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("ADIT_").filter_map(move |(start, _)| {
        let rest = &text[start..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        (!rest[..end].ends_with('_')).then_some(&rest[..end])
    })
}

#[test]
fn flags_in_documents_exist() {
    let mut known: BTreeSet<String> = FOREIGN_FLAGS.map(Into::into).into();
    command_lines().iter().for_each(|(_, command)| flags(command, &mut known));
    known.extend(["--help".into(), "--version".into()]);
    for source in sources::documents() {
        let (_, prose) = markdown::split(&source.text);
        for (line, span) in markdown::spans(&prose).into_iter().filter(|(_, span)| span.starts_with("--")) {
            let flag = span.split([' ', '=']).next().unwrap();
            assert!(known.contains(flag), "{}:{line}: no program has {flag}", source.path);
        }
    }
}

#[test]
fn variables_in_documents_are_known_to_a_program() {
    for source in sources::documents() {
        for variable in variables(&source.text) {
            let is_known = adit_config::environment::is_known(variable);
            assert!(is_known, "{}: no program knows {variable}", source.path);
        }
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    for source in sources::documents() {
        let (_, prose) = markdown::split(&source.text);
        for (line, target) in markdown::links(&prose) {
            let place = format!("{}:{line}: {target}", source.path);
            if target.starts_with("https:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = root().join(&source.path).parent().map(Path::to_owned).unwrap();
            let file = if file.is_empty() { root().join(&source.path) } else { folder.join(file) };
            assert!(file.exists(), "{place}: there is no such file");
            if !anchor.is_empty() {
                let (_, prose) = markdown::split(&std::fs::read_to_string(&file).unwrap());
                let anchors = markdown::anchors(&prose);
                assert!(anchors.iter().any(|known| known == anchor), "{place}: it has {anchors:?}");
            }
        }
    }
}
