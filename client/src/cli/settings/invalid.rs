//! The errors of a command's settings.

use crate::problem::Problem;

/// The place of a wrong value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    CommandLine,
    Variable,
    File,
}

/// All errors of a command's settings.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct InvalidSettings {
    pub(super) errors: Vec<(Origin, String)>,
    /// The file's name, if one was read.
    pub(super) file: Option<String>,
    /// The command, for the advice.
    pub(super) command: &'static str,
}

impl InvalidSettings {
    /// One line for each error: where it stands, its value and the rule that it breaks.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.errors.iter().map(|(_, line)| line.clone()).collect()
    }

    /// The heading for the lines: it names the one place where all of them stand, if there is one.
    pub(crate) fn problem(&self) -> Problem {
        let all = |origin| self.errors.iter().all(|(of, _)| *of == origin);
        let help = format!("adit {} --help", self.command);
        if all(Origin::CommandLine) {
            return Problem::new("usage").with("message", "bad command line").with("usage", help);
        }
        let problem = Problem::new("config_invalid");
        match &self.file {
            Some(file) if all(Origin::File) => problem.with("file", file.as_str()),
            _ if all(Origin::Variable) => problem.with("file", "the environment").with("usage", help),
            _ => problem,
        }
    }
}
