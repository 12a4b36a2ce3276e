//! ARCHITECTURE.md names modules, types and paths that exist.

use crate::{
    markdown,
    sources::{self, root},
};
use std::collections::BTreeSet;

const DOCUMENT: &str = "ARCHITECTURE.md";
const TOP_FOLDERS: [&str; 7] = ["client/", "docs/", "e2e/", "operator/", "relay/", "terminal/", "testkit/"];

/// The text below a heading, up to the next heading of any level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    rest.split("\n#").next().unwrap_or_default()
}

#[test]
fn the_table_of_the_relays_modules_is_complete() {
    let text = sources::read(DOCUMENT).text;
    let listed: BTreeSet<String> = section(&text, "### relay/src")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(module, _)| module.to_owned())
        .collect();
    let files = std::fs::read_dir(root().join("relay/src")).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let modules: BTreeSet<String> = names
        .filter_map(|name| name.strip_suffix(".rs").map(ToOwned::to_owned))
        .filter(|module| !["lib", "main"].contains(&module.as_str()))
        .collect();
    assert_eq!(listed, modules);
}

#[test]
fn folders_of_the_layout_and_paths_of_changes_exist() {
    let text = sources::read(DOCUMENT).text;
    let layout = section(&text, "## Layout");
    let mut parent = String::new();
    for line in layout.lines().skip_while(|line| *line != "```").skip(1).take_while(|line| *line != "```") {
        let (name, rest) =
            line.trim_start().split_once('/').unwrap_or_else(|| panic!("no folder in {line:?}"));
        if !line.starts_with(' ') {
            parent.clear();
        }
        let folder = format!("{parent}{name}");
        assert!(root().join(&folder).is_dir(), "there is no {folder}");
        if let Some(package) = rest.split_whitespace().next().filter(|word| word.starts_with("adit")) {
            let manifest = sources::read(&format!("{folder}/Cargo.toml")).text;
            assert!(manifest.contains(&format!("name = \"{package}\"\n")), "{folder} is not {package}");
        }
        if !line.starts_with(' ') {
            parent = format!("{name}/");
        }
    }
    let changes = section(&text, "## Where a change goes");
    let words = changes.split_whitespace().map(|word| word.trim_matches([',', ';', '.', '(', ')', '`']));
    for path in words.filter(|word| TOP_FOLDERS.iter().any(|top| word.starts_with(top))) {
        assert!(root().join(path).exists(), "there is no {path}");
    }
}

#[test]
fn types_that_are_named_are_defined() {
    let (_, prose) = markdown::split(&sources::read(DOCUMENT).text);
    let sources: Vec<_> = ["client", "operator", "relay", "testkit"]
        .iter()
        .flat_map(|folder| sources::below(folder, "rs"))
        .collect();
    let is_type = |span: &str| {
        span.starts_with(|c: char| c.is_ascii_uppercase())
            && span.contains(|c: char| c.is_ascii_lowercase())
            && span.chars().all(|c| c.is_ascii_alphanumeric())
    };
    for (line, name) in markdown::spans(&prose).into_iter().filter(|(_, span)| is_type(span)) {
        let is_defined = |text: &str| {
            ["struct", "enum", "trait", "type"].iter().any(|keyword| {
                let definition = format!("{keyword} {name}");
                let mut rests = text.split(&definition).skip(1);
                rests.any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
            })
        };
        assert!(sources.iter().any(|source| is_defined(&source.text)), "{DOCUMENT}:{line}: no type {name}");
    }
}
