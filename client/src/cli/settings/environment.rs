//! The environment of a command: variables and working directory.

use adit_config::environment;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The variable with the token itself. It has no flag: other users can read a command line.
pub(crate) const TOKEN_VARIABLE: &str = "ADIT_TOKEN";

/// The variables and the working directory of a process.
pub(crate) struct Environment {
    /// All variables.
    pub(crate) variables: BTreeMap<String, String>,
    /// The working directory.
    pub(crate) directory: PathBuf,
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        Self {
            variables: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            directory: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// A variable's value, unless it is empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The directory of a user's own configuration (XDG Base Directory Specification).
    pub(super) fn home(&self) -> Option<PathBuf> {
        let xdg = self.variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        xdg.or_else(|| self.variable("HOME").map(|home| Path::new(home).join(".config")))
            .map(|dir| dir.join("adit"))
    }

    /// The variable of a flag if the value came from there.
    pub(super) fn variable_of(&self, flag: &str, value: &str) -> Option<String> {
        let name = environment::variable(&flag.strip_prefix("--")?.replace('-', "_"));
        (self.variable(&name) == Some(value)).then_some(name)
    }
}
