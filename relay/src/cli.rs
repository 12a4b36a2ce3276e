//! The command line of adit-relay.
//!
//! [`parse`] turns words into a [`Command`]. What a command does is elsewhere, but for those that only print text.

pub mod admin;
mod complaints;
mod consent;
mod failure;
mod line;
mod text;

pub use clap_complete::Shell;
pub use failure::{CliError, ExitReason};
pub use text::{check, completions};

use crate::{
    cli::admin::{
        act::{AdminAction, Consent},
        complaints::ComplaintRequest,
    },
    config::{Config, Inspection, environment},
};
use adit_protocol::{Account, Kind};
use clap::{CommandFactory, Parser, error::ErrorKind};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where relay.yaml is looked for when neither `--config` nor `ADIT_CONFIG` names it.
pub const DEFAULT_CONFIG: &str = "relay.yaml";

/// A parsed command line. `config` is the configuration file; absent: the environment alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the relay.
    Run {
        /// The configuration.
        config: Option<PathBuf>,
    },
    /// Print a token of the provider's own.
    Token(Token),
    /// Validate the configuration and print what was understood: [`check`].
    Check {
        /// The configuration.
        config: Option<PathBuf>,
    },
    /// Print a relay.yaml with every key and its default: [`crate::config::reference`].
    Defaults,
    /// Ask a running relay something by its admin socket, or tell it something.
    Admin(Admin),
    /// Print what a shell needs to complete commands: [`completions`].
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// A token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The account.
    pub account: Account,
    /// How long it can be used, 1 s to 24 h.
    pub ttl: Duration,
    /// Which names it allows, with `*` for any letters; absent: every name.
    pub names: Option<Vec<String>>,
    /// Which kinds of tunnel it allows, at least one.
    pub kinds: Vec<Kind>,
    /// The signing key and the audience.
    pub source: TokenSource,
}

/// Where a token's key and audience come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// From a relay's configuration.
    Config(Option<PathBuf>),
    /// From the command line.
    Key {
        /// The file of the token key.
        key: PathBuf,
        /// The region's domain, which is the token's audience.
        domain: String,
    },
}

/// A call of a running relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The request.
    pub call: AdminRequest,
    /// Whether the answer is printed as JSON.
    pub json: bool,
    /// The admin socket; absent: the one of the configuration.
    pub socket: Option<PathBuf>,
    /// The configuration.
    pub config: Option<PathBuf>,
}

/// A request to a running relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// List its sessions.
    Sessions,
    /// List its tunnels.
    Tunnels,
    /// Carry out an action.
    Act(AdminAction, Consent),
    /// A request about complaints.
    Complaints(ComplaintRequest),
}

/// A reason to end before a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlyExit {
    /// It asks for this text, help or version: it goes to stdout, and the exit code is 0.
    Text(String),
    /// It is wrong: the failure goes to stderr.
    Error(CliError),
}

/// The variables of all flags.
#[cfg(test)]
fn variables() -> Vec<String> {
    let mut commands = vec![line::CommandLine::command()];
    let mut variables = Vec::new();
    while let Some(command) = commands.pop() {
        let flags = command.get_arguments().filter_map(clap::Arg::get_env);
        variables.extend(flags.map(|variable| variable.to_string_lossy().into_owned()));
        commands.extend(command.get_subcommands().cloned());
    }
    variables
}

/// Reads a command line, whose first word is the program. `ADIT_CONFIG` is read too.
///
/// # Errors
/// It asks for help or the version, or it is wrong.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, EarlyExit> {
    let line = line::CommandLine::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => EarlyExit::Text(error.render().to_string()),
        _ => EarlyExit::Error(CliError::of_clap(&error)),
    })?;
    line.into_command(Path::new(DEFAULT_CONFIG).is_file().then(|| DEFAULT_CONFIG.into()))
        .map_err(EarlyExit::Error)
}

/// Loads a configuration with this process's environment, to run a relay with it.
///
/// # Errors
/// Everything that is wrong with it, as a failure with exit code 2.
pub fn load(config: Option<&Path>) -> Result<Config, CliError> {
    Config::load(config, environment()).map_err(|errors| CliError::of_config(config, &errors))
}

/// Loads a configuration with this process's environment, to look at it: files that this user may not read are left
/// unchecked.
///
/// # Errors
/// Everything that is wrong with it, as a failure with exit code 2.
pub fn inspect(config: Option<&Path>) -> Result<Inspection, CliError> {
    Config::inspect(config, environment()).map_err(|errors| CliError::of_config(config, &errors))
}

/// The program's description for clap, from which help, completions and man pages are made.
pub fn command() -> clap::Command {
    line::CommandLine::command()
}

#[cfg(test)]
mod tests;
