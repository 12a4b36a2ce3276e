//! `kubectl adit`: what a person asks a provider on Kubernetes.
//!
//! It asks by kubectl itself, which has the way into the cluster and the person's rights. What relays know they are asked
//! by `kubectl exec`: nothing of it passes the operator.

mod args;
mod certificates;
mod complaints;
mod decide;
mod explain;
mod kubectl;
mod request;
mod status;
mod table;
mod token;
mod tunnels;

pub use args::Line;

use adit_api::complaint::Decision;
use args::{Action, Format};
use decide::Terms;
use kubectl::{Kubectl, KubectlError};
use std::{fmt, process::ExitCode};

/// Why a command did not do what it was asked; as text `error: what [code]`, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    code: &'static str,
    why: Option<String>,
    next: Option<String>,
    exit: u8,
}

/// The cluster or a relay cannot be reached.
const UNREACHABLE: u8 = 7;
/// The answer is that there is a problem.
const PROBLEM: u8 = 8;

impl Failure {
    fn usage(code: &'static str, what: String, next: String) -> Self {
        Self { what, code, why: None, next: Some(next), exit: 2 }
    }
}

impl From<KubectlError> for Failure {
    fn from(error: KubectlError) -> Self {
        let why = std::error::Error::source(&error).map(ToString::to_string).or_else(|| error.said());
        Self { what: error.to_string(), code: "cluster_unreachable", why, next: None, exit: UNREACHABLE }
    }
}

impl fmt::Display for Failure {
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

/// What a command has found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    text: String,
    is_problem: bool,
}

/// Runs one command, prints what it finds, and says with what code the program ends.
pub fn run(line: &Line) -> ExitCode {
    match answer(line) {
        Ok(answer) => {
            print!("{}", answer.text);
            ExitCode::from(if answer.is_problem { PROBLEM } else { 0 })
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit)
        }
    }
}

fn answer(line: &Line) -> Result<Answer, Failure> {
    let kubectl = Kubectl::new(line);
    let json = line.output == Some(Format::Json);
    match &line.action {
        Action::Status => status::status(&kubectl, json),
        Action::Tunnels { region } => tunnels::tunnels(&kubectl, region.as_deref(), json),
        Action::Explain { url } => explain::explain(&kubectl, url, json),
        Action::Token(token) => token::token(&kubectl, token),
        Action::Certificates => certificates::certificates(&kubectl, json),
        Action::Renew { name, wait, timeout } => {
            certificates::renew(&kubectl, name, wait.then_some(timeout), json)
        }
        Action::Complaints { all } => complaints::complaints(&kubectl, *all, json),
        Action::Acknowledge { scope, until, decide } => {
            let terms = Terms { scope: *scope, until: until.as_deref() };
            decide::decide(&kubectl, Decision::Acknowledged, decide, terms, json)
        }
        Action::Dismiss(decide) => {
            decide::decide(&kubectl, Decision::Dismissed, decide, Terms::default(), json)
        }
        Action::Lift(decide) => decide::decide(&kubectl, Decision::Lifted, decide, Terms::default(), json),
    }
}
