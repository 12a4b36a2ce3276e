//! Errors of a configuration, as a person reads them.

use super::origins::VariableOrigins;
use adit_config::{Problem, environment::variable, problem::Step};
use std::{fmt, path::Path};

/// One thing that is wrong with a configuration. As text: `relay.yaml: line 6: limits.tunnels: -1 is not …`, or
/// `ADIT_LIMITS_TUNNELS: -1 is not …`. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file and the key in it, or the variable.
    pub place: String,
    /// The value and the rule that it breaks.
    pub text: String,
}

impl ConfigError {
    /// A problem at the place where the value was written: in a variable, or in the file.
    pub(super) fn of(problem: &Problem, file: Option<&Path>, set: &VariableOrigins) -> Self {
        let text = problem.text.clone();
        if let Some((name, rest)) = set.variable_of(&problem.path) {
            return Self { place: format!("{name}{rest}"), text };
        }
        let line = problem.line.map(|line| format!(": line {line}")).unwrap_or_default();
        let place = match file {
            Some(file) if problem.path.0.is_empty() => format!("{}{line}", file.display()),
            Some(file) => format!("{}{line}: {}", file.display(), problem.path),
            None if problem.path.0.iter().all(|step| matches!(step, Step::Key(_))) => {
                variable(&problem.path.to_string())
            }
            None => problem.path.to_string(),
        };
        Self { place, text }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// The most errors that are reported at once.
const MAX_ERRORS: usize = 100;

/// Everything that is wrong with a configuration, at least one thing and at most 100. As text: one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.truncate(MAX_ERRORS);
        Self(errors)
    }

    pub(super) fn of_file(file: &Path, text: &str) -> Self {
        Self(vec![ConfigError { place: file.display().to_string(), text: text.to_owned() }])
    }

    /// The single errors.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
