//! Why a program ends, as a person reads it and as a script sees it.

use crate::config::ConfigErrors;
use std::{fmt, io, path::Path, process::ExitCode};

/// The exit code of a failed command. Restarting helps after 1 and 7 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitReason {
    /// Something unexpected failed.
    Unexpected = 1,
    /// Usage or configuration.
    Usage = 2,
    /// A token is missing, has expired or was refused.
    Token = 3,
    /// A name, host name, kind or limit was refused.
    Refused = 4,
    /// The account is suspended.
    Suspended = 5,
    /// The program is too old.
    Upgrade = 6,
    /// Relay or store could not be reached in time.
    Unreachable = 7,
    /// The answer is that there is a problem.
    Problem = 8,
}

impl From<ExitReason> for ExitCode {
    fn from(exit: ExitReason) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed. As text:
///
/// ```text
/// error: what [code]
///   why:   one line or more
///   next:  what to do, a command if there is one
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// What failed, without a final dot.
    pub what: String,
    /// A stable code in snake case.
    pub code: &'static str,
    /// Why, in lines.
    pub why: Vec<String>,
    /// What to do about it: a command where there is one.
    pub next: String,
    /// How the program ends.
    pub exit: ExitReason,
}

impl CliError {
    /// An error without reasons yet. Every error has a next step.
    pub fn new(
        exit: ExitReason,
        code: &'static str,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), code, why: Vec::new(), next: next.into(), exit }
    }

    /// Adds a reason, of one line or more.
    #[must_use]
    pub fn why(mut self, why: impl fmt::Display) -> Self {
        self.why.extend(why.to_string().lines().map(str::to_owned));
        self
    }

    /// Adds an error and its sources as reasons, each on a line of its own.
    #[must_use]
    pub fn because(mut self, error: &dyn std::error::Error) -> Self {
        let mut error = Some(error);
        while let Some(level) = error {
            self = self.why(level);
            error = level.source();
        }
        self
    }

    /// A command that ends something and that the person did not agree to. `effect` is in the infinitive.
    pub fn unconfirmed(effect: &str) -> Self {
        Self::new(ExitReason::Usage, "unconfirmed", "nothing was done", "add --yes")
            .why(format!("it would {effect}"))
    }

    /// The error of an invalid configuration.
    pub fn of_config(file: Option<&Path>, errors: &ConfigErrors) -> Self {
        let place = file.map_or("the environment".to_owned(), |file| file.display().to_string());
        let count = match errors.iter().len() {
            1 => "an error".to_owned(),
            count => format!("{count} errors"),
        };
        let unopened = file.and_then(|file| std::fs::File::open(file).err().map(|error| error.kind()));
        let next = match file {
            Some(_) if unopened == Some(io::ErrorKind::NotFound) => {
                "name the file with --config; `adit-relay defaults` prints one with every key".to_owned()
            }
            Some(_) if unopened == Some(io::ErrorKind::PermissionDenied) => {
                "run the same command as the relay's user".to_owned()
            }
            Some(file) => format!("correct it, then: adit-relay check --config {}", file.display()),
            None => "give a file with --config; `adit-relay defaults` prints one with every key".to_owned(),
        };
        Self::new(ExitReason::Usage, "config_invalid", format!("{place} has {count}"), next).why(errors)
    }

    /// The error of an invalid command line. clap's text has the error first, then tips, then the usage.
    pub(super) fn of_clap(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let what = lines.next().unwrap_or("the command line is wrong");
        let what = what.strip_prefix("error: ").unwrap_or(what).trim_end_matches(':');
        let details =
            lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
        let mut failure = Self::new(ExitReason::Usage, "usage", what, "adit-relay --help");
        for detail in details {
            failure = failure.why(detail.strip_prefix("tip: ").unwrap_or(detail));
        }
        failure
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {} [{}]", self.what, self.code)?;
        for (index, why) in self.why.iter().enumerate() {
            write!(f, "\n  {:<7}{why}", if index == 0 { "why:" } else { "" })?;
        }
        write!(f, "\n  {:<7}{}", "next:", self.next)
    }
}

impl std::error::Error for CliError {}
