//! Finds and reads the configuration file.

use super::environment::Environment;
use crate::cli::{
    args::Global,
    file::{self, File},
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The most bytes of it that are read.
const MAX_FILE_BYTES: u64 = adit_config::yaml::MAX_BYTES as u64 + 1;

/// The configuration file: the one that was named, else the nearest that is there.
pub(super) fn find(global: &Global, environment: &Environment) -> Option<PathBuf> {
    if let Some(named) = &global.config {
        return Some(environment.directory.join(named));
    }
    let here = environment.directory.join("adit.yaml");
    let home = environment.home().map(|dir| dir.join("adit.yaml"));
    std::iter::once(here).chain(home).find(|path| path.exists())
}

/// Reads it; or returns its errors, one line each, beginning with its name.
pub(super) fn read(path: &Path) -> Result<File, Vec<String>> {
    let shown = file_name(path);
    let mut text = String::new();
    let opened = std::fs::File::open(path).and_then(|f| f.take(MAX_FILE_BYTES).read_to_string(&mut text));
    if let Err(error) = opened {
        return Err(vec![match error.kind() {
            io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
            _ => format!("{} cannot be read: {error}", path.display()),
        }]);
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    file::parse(&text, directory)
        .map_err(|lines| lines.iter().map(|line| format!("{shown}: {line}")).collect())
}

/// Its name without the folder, as messages show it.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy()).into_owned()
}
