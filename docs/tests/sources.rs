//! The files of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text file.
pub(crate) struct Source {
    /// Its path from the repository's root, with slashes.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One file.
pub(crate) fn read(path: &str) -> Source {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Source { path: path.to_owned(), text }
}

/// All files below a folder with this extension, in order of their paths.
pub(crate) fn below(folder: &str, extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push(read(&relative));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every document in Markdown.
pub(crate) fn documents() -> Vec<Source> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    top.into_iter().map(read).chain(below("docs", "md")).collect()
}

/// Every source file of the programs without their tests.
pub(crate) fn programs() -> Vec<Source> {
    let is_test = |path: &str| path.split('/').any(|part| part == "tests" || part == "tests.rs");
    let folders = ["client/src", "relay", "operator", "terminal"];
    let folders = folders.into_iter().filter(|folder| root().join(folder).is_dir());
    folders
        .flat_map(|folder| below(folder, "rs"))
        .filter(|source| source.path.contains("/src/") && !is_test(&source.path))
        .collect()
}
