//! Merges arguments, variables and adit.yaml: flag before variable before file before default.

mod check;
mod config_file;
mod environment;
mod invalid;

pub(super) use environment::Environment;
#[cfg(test)]
pub(super) use environment::TOKEN_VARIABLE;
pub(super) use invalid::InvalidSettings;

use super::{
    args::{Cli, Command, Global, TokenFlags, When},
    file::File,
    values,
};
use crate::{address::RelayAddress, service::TunnelSpec, token::TokenSource};
use check::Check;
use invalid::Origin;
use std::{path::PathBuf, time::Duration};

/// The valid settings of a run.
#[derive(Debug)]
pub(super) struct Settings {
    /// The region.
    pub(super) relay: RelayAddress,
    /// Where the token comes from.
    pub(super) token: Option<TokenSource>,
    /// Authorities to trust for the relay.
    pub(super) ca: Option<PathBuf>,
    /// The file that was read.
    pub(super) config: Option<PathBuf>,
    /// How long to try without a relay.
    pub(super) give_up_after: Option<Duration>,
    /// The tunnels, in the order of the file.
    pub(super) tunnels: Vec<TunnelSpec>,
    /// Whether it is `adit start`: a refused tunnel lets the others run.
    pub(super) many: bool,
    /// Open tunnels although others to the same services are open.
    pub(super) force: bool,
    /// The form of its output.
    pub(super) display: DisplayOptions,
}

/// The form of a run's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DisplayOptions {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    pub(super) color: When,
}

impl DisplayOptions {
    /// The flags' and variables' choice, or the file's where they make none.
    pub(super) fn new(global: &Global, file: &File) -> Self {
        let says_how = global.quiet || global.verbose;
        Self {
            json: global.json || file.json,
            quiet: global.quiet || (file.quiet && !says_how),
            verbose: global.verbose || (file.verbose && !says_how),
            color: global.color.or(file.color).unwrap_or(When::Auto),
        }
    }
}

/// Merges and checks all settings.
///
/// # Errors
/// All errors, one line each: place, value and rule.
pub(super) fn gather(
    cli: &Cli,
    token_flags: TokenFlags,
    environment: &Environment,
) -> Result<Settings, InvalidSettings> {
    let global = &cli.global;
    let config = config_file::find(global, environment);
    let mut check = Check::new(environment, config.as_deref());
    check.unknown_variables();
    let file = match &config {
        Some(path) => config_file::read(path).unwrap_or_else(|lines| {
            lines.into_iter().for_each(|line| check.refuse(Origin::File, line));
            File::default()
        }),
        None => File::default(),
    };
    let relay = match &global.relay {
        Some(text) => check.value("--relay", text, values::relay),
        None => file.relay.clone(),
    };
    if relay.is_none() && check.is_valid() && !matches!(cli.command, Command::Check) {
        check.refuse(Origin::CommandLine, "no relay: add --relay DOMAIN, or relay: in adit.yaml");
    }
    let give_up_after = match &global.give_up_after {
        Some(text) => check.value("--give-up-after", text, values::duration),
        None => file.give_up_after,
    };
    let token = check.token(global, token_flags, &file, config.as_deref());
    let ca = match (&global.ca, &file.ca) {
        (Some(path), _) => Some(check.authorities("--ca", path)),
        (None, Some(path)) => Some(check.authorities("ca", path)),
        (None, None) => None,
    };
    let display = DisplayOptions::new(global, &file);
    let (tunnels, force) = check.tunnels(&cli.command, file, config.as_deref());
    let many = matches!(cli.command, Command::Start(_) | Command::Check);
    let invalid = check.into_invalid(cli.command.name());
    // `adit check` needs no relay: each command line may name its own.
    let relay = relay.or_else(|| matches!(cli.command, Command::Check).then(RelayAddress::placeholder));
    match (invalid, relay) {
        (None, Some(relay)) => {
            Ok(Settings { relay, token, ca, config, give_up_after, tunnels, many, force, display })
        }
        (invalid, _) => Err(invalid.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
