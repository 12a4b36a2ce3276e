//! Why a command failed.

use crate::{api_server::CallError, error_chain::error_chain};
use std::{error::Error, fmt};

/// The exit code of a command line with a mistake.
const USAGE_EXIT_CODE: u8 = 2;
/// The exit code if the cluster or a relay cannot be reached.
pub(super) const UNREACHABLE_EXIT_CODE: u8 = 7;

/// The exit code of a command that found a problem.
pub(super) const PROBLEM_EXIT_CODE: u8 = 8;

/// Why a command failed. As text it is `error: what [code]`, the reason and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandError {
    /// What failed.
    pub(super) what: String,
    /// The stable code.
    pub(super) code: &'static str,
    /// The reason.
    pub(super) why: Option<String>,
    /// What to do next.
    pub(super) next: Option<String>,
    /// The exit code of the program.
    pub(super) exit_code: u8,
}

impl CommandError {
    /// A mistake of the person who runs the command.
    pub(super) fn usage(code: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        let (what, next) = (what.into(), Some(next.into()));
        Self { what, code, why: None, next, exit_code: USAGE_EXIT_CODE }
    }

    /// The cluster or a relay cannot be reached, or does not answer as expected.
    pub(super) fn unreachable(what: impl Into<String>, why: &dyn Error) -> Self {
        Self {
            what: what.into(),
            code: "cluster_unreachable",
            why: Some(error_chain(why)),
            next: None,
            exit_code: UNREACHABLE_EXIT_CODE,
        }
    }

    /// The process cannot start its threads.
    pub(super) fn no_runtime(error: std::io::Error) -> Self {
        Self { code: "runtime", ..Self::unreachable("cannot start", &error) }
    }
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        let why = error.source().map(error_chain);
        Self { why, ..Self::unreachable(error.to_string(), &error) }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {} [{}]", self.what, self.code)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why:   {}", why.trim().replace('\n', "\n         "))?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  next:  {next}")?;
        }
        Ok(())
    }
}
