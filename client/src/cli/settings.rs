//! Arguments, variables and adit.yaml to what a run needs: flag before variable before file before default.

use super::{
    args::{Cli, Command, Global, TokenFlags},
    file::{self, File},
    values,
};
use crate::{
    address::RelayAddress,
    service::{Service, TunnelSpec},
    token::TokenSource,
};
use adit_config::{environment, problem::quoted};
use adit_protocol::{Kind, Name};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// The most bytes of adit.yaml that are read.
const MAX_FILE_BYTES: u64 = adit_config::yaml::MAX_BYTES as u64 + 1;

/// What a run needs, all of it valid.
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
    /// What to open.
    pub(super) tunnels: Vec<TunnelSpec>,
    /// Whether it is `adit start`: a refused tunnel lets the others run.
    pub(super) many: bool,
    /// Open tunnels although others to the same services are open.
    pub(super) force: bool,
}

/// Where values come from beside the command line.
pub(super) struct Environment {
    /// All variables.
    pub(super) variables: BTreeMap<String, String>,
    /// The working directory.
    pub(super) directory: PathBuf,
}

impl Environment {
    /// Those of this process.
    pub(super) fn of_process() -> Self {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        Self {
            variables: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            directory: std::env::current_dir().unwrap_or_default(),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The directory of a user's own configuration (XDG Base Directory Specification).
    fn home(&self) -> Option<PathBuf> {
        let xdg = self.variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        xdg.or_else(|| self.variable("HOME").map(|home| Path::new(home).join(".config")))
            .map(|dir| dir.join("adit"))
    }

    /// The name by which a person knows a value: that of the flag, or of the variable if it came from there.
    fn place(&self, flag: &str, value: &str) -> String {
        let variable = environment::variable(&flag[2..].replace('-', "_"));
        if self.variable(&variable) == Some(value) { variable } else { flag.to_owned() }
    }
}

/// Gathers what a run needs.
///
/// # Errors
/// Everything that is wrong, one line each: where it stands, its value and the rule that it breaks.
pub(super) fn gather(
    cli: &Cli,
    token_flags: TokenFlags,
    environment: &Environment,
) -> Result<Settings, Vec<String>> {
    let mut errors = unknown_variables(environment);
    let config = find(&cli.global, environment);
    let file = match &config {
        Some(path) => read(path).unwrap_or_else(|lines| {
            errors.extend(lines);
            File::default()
        }),
        None => File::default(),
    };
    let global = &cli.global;
    let mut check = Check { environment, errors };
    let relay = match &global.relay {
        Some(text) => check.value("--relay", text, values::relay),
        None => file.relay.clone(),
    };
    if relay.is_none() && check.errors.is_empty() {
        check.errors.push(
            "--relay: is missing: give the region's domain, or write relay: DOMAIN in adit.yaml".into(),
        );
    }
    let give_up_after = match &global.give_up_after {
        Some(text) => check.value("--give-up-after", text, |text| {
            adit_config::duration::parse(text).map_err(|rule| rule.to_string())
        }),
        None => file.give_up_after,
    };
    let token = check.token(global, token_flags, &file, config.as_deref());
    let (tunnels, force) = check.tunnels(&cli.command, file.tunnels, config.as_deref());
    let many = matches!(cli.command, Command::Start(_));
    let ca = global.ca.clone().or(file.ca);
    match relay {
        Some(relay) if check.errors.is_empty() => {
            Ok(Settings { relay, token, ca, config, give_up_after, tunnels, many, force })
        }
        _ => Err(check.errors),
    }
}

fn unknown_variables(environment: &Environment) -> Vec<String> {
    let ours = environment.variables.iter().filter(|(name, _)| name.starts_with(environment::PREFIX));
    let unknown = ours
        .filter(|(name, value)| !environment::is_known(name) && !environment::is_service_link(name, value));
    unknown.map(|(name, _)| format!("{name}: {}", environment::unknown(name))).collect()
}

/// The configuration file: the one that was named, else the nearest that is there.
fn find(global: &Global, environment: &Environment) -> Option<PathBuf> {
    if let Some(named) = &global.config {
        return Some(environment.directory.join(named));
    }
    let here = environment.directory.join("adit.yaml");
    let home = environment.home().map(|dir| dir.join("adit.yaml"));
    std::iter::once(here).chain(home).find(|path| path.exists())
}

fn read(path: &Path) -> Result<File, Vec<String>> {
    use std::io::Read;
    let shown = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
    let mut text = String::new();
    let opened = std::fs::File::open(path).and_then(|f| f.take(MAX_FILE_BYTES).read_to_string(&mut text));
    if let Err(error) = opened {
        return Err(vec![format!("{}: cannot be read: {error}", path.display())]);
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    file::parse(&text, directory)
        .map_err(|lines| lines.iter().map(|line| format!("{shown}: {line}")).collect())
}

/// Gathers errors while it makes values.
struct Check<'a> {
    environment: &'a Environment,
    errors: Vec<String>,
}

impl Check<'_> {
    fn value<T>(
        &mut self,
        flag: &str,
        text: &str,
        rule: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match rule(text) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.errors.push(format!("{}: {} {rule}", self.environment.place(flag, text), quoted(text)));
                None
            }
        }
    }

    /// The token of the first level that names one.
    fn token(
        &mut self,
        global: &Global,
        token_flags: TokenFlags,
        file: &File,
        config: Option<&Path>,
    ) -> Option<TokenSource> {
        let path = global.token_file.clone().map(TokenSource::File);
        let command = global.token_command.clone().map(TokenSource::Command);
        let text =
            self.environment.variable("ADIT_TOKEN").map(|token| TokenSource::Text(token.trim().to_owned()));
        let (line_file, path) = if token_flags.token_file { (path, None) } else { (None, path) };
        let (line_command, command) =
            if token_flags.token_command { (command, None) } else { (None, command) };
        let levels = [
            vec![("--token-file", line_file), ("--token-command", line_command)],
            vec![("ADIT_TOKEN_FILE", path), ("ADIT_TOKEN_COMMAND", command), ("ADIT_TOKEN", text)],
        ];
        for level in levels {
            let mut given =
                level.into_iter().filter_map(|(place, source)| source.map(|source| (place, source)));
            let Some((first, source)) = given.next() else { continue };
            if let Some((second, _)) = given.next() {
                self.errors
                    .push(format!("{second}: is one source of the token too many: {first} is there as well"));
            }
            return Some(source);
        }
        if let Some(path) = &file.token_file {
            return Some(TokenSource::File(path.clone()));
        }
        if let Some(command) = &file.token_command {
            return Some(TokenSource::Command(command.clone()));
        }
        let beside = config.and_then(Path::parent).map(Path::to_path_buf).or_else(|| self.environment.home());
        beside.map(|dir| dir.join("token")).filter(|path| path.exists()).map(TokenSource::File)
    }

    fn tunnels(
        &mut self,
        command: &Command,
        configured: Vec<TunnelSpec>,
        config: Option<&Path>,
    ) -> (Vec<TunnelSpec>, bool) {
        match command {
            Command::Http(http) => {
                let service = self.service(Kind::Http, &http.service);
                let name = http.name.as_deref().and_then(|text| {
                    self.value("--name", text, |text| {
                        Name::from_str(text).map_err(|rule| format!("cannot be had: {rule}"))
                    })
                });
                let host_header = http.host_header.as_deref();
                let host_header =
                    host_header.and_then(|text| self.value("--host-header", text, values::host_header));
                let protocol = http.upstream_protocol.as_deref().and_then(|text| {
                    self.value("--upstream-protocol", text, |text| {
                        text.parse().map_err(|rule| format!("is not a version of HTTP: {rule}"))
                    })
                });
                let tunnel = service.map(|service| TunnelSpec {
                    name: name.map(|name| name.to_string()),
                    any_name: http.any_name,
                    host_header,
                    upstream_protocol: protocol.unwrap_or_default(),
                    upstream_ca: http.upstream_ca.clone(),
                    ..TunnelSpec::new(service)
                });
                (tunnel.into_iter().collect(), http.force)
            }
            Command::Tcp(tcp) => {
                let service = self.service(Kind::Tcp, &tcp.service);
                let port = tcp.port.as_deref().and_then(|text| self.value("--port", text, values::port));
                let tunnel = service.map(|service| TunnelSpec { port, ..TunnelSpec::new(service) });
                (tunnel.into_iter().collect(), tcp.force)
            }
            Command::Start(start) => (self.chosen(&start.names, configured, config), start.force),
            _ => (vec![], false),
        }
    }

    fn service(&mut self, kind: Kind, text: &str) -> Option<Service> {
        if text.contains(['/', '.']) && self.environment.directory.join(text).is_dir() {
            self.errors.push(format!(
                "SERVICE: {} is a directory: this version publishes only running services",
                quoted(text)
            ));
            return None;
        }
        self.value("SERVICE", text, |text| {
            Service::parse(kind, text).map_err(|rule| format!("is not a service: {rule}"))
        })
    }

    /// The tunnels of the file that are to run, the others after them with `enabled` false.
    fn chosen(
        &mut self,
        names: &[String],
        mut tunnels: Vec<TunnelSpec>,
        config: Option<&Path>,
    ) -> Vec<TunnelSpec> {
        if config.is_none() {
            self.errors.push("--config: there is no adit.yaml here: write one, or name another file".into());
            return vec![];
        }
        for name in names {
            if !tunnels.iter().any(|tunnel| tunnel.name.as_ref() == Some(name)) {
                let known = tunnels.iter().filter_map(|tunnel| tunnel.name.as_deref());
                let meant = adit_config::nearest(name, known);
                let meant = meant.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
                self.errors.push(format!("NAME: {} is not one of the file's tunnels{meant}", quoted(name)));
            }
        }
        for tunnel in &mut tunnels {
            if !names.is_empty() {
                tunnel.enabled = tunnel.name.as_ref().is_some_and(|name| names.contains(name));
            }
        }
        if self.errors.is_empty() && !tunnels.iter().any(|tunnel| tunnel.enabled) {
            self.errors.push("tunnels: none is there that is enabled, so there is nothing to open".into());
        }
        tunnels
    }
}

#[cfg(test)]
mod tests;
