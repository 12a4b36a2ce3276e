//! Checks values and collects their errors.

use super::{
    config_file::file_name,
    environment::{Environment, TOKEN_VARIABLE},
    invalid::{InvalidSettings, Origin},
};
use crate::{
    cli::{
        args::{Command, Global, Http, Tcp, TokenFlags},
        file::{ConfiguredTunnel, File},
        values,
    },
    service::{Scheme, Service, TunnelSpec},
    tls,
    token::TokenSource,
};
use adit_config::{environment, problem::quoted};
use adit_protocol::Kind;
use std::path::{Path, PathBuf};

/// Collects errors while it makes values.
pub(super) struct Check<'a> {
    environment: &'a Environment,
    /// The name of the configuration file, if there is one.
    file: Option<String>,
    errors: Vec<(Origin, String)>,
}

impl<'a> Check<'a> {
    /// No error yet.
    pub(super) fn new(environment: &'a Environment, config: Option<&Path>) -> Self {
        Self { environment, file: config.map(file_name), errors: vec![] }
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// Adds an error.
    pub(super) fn refuse(&mut self, origin: Origin, line: impl Into<String>) {
        self.errors.push((origin, line.into()));
    }

    /// The errors, if there are any.
    pub(super) fn into_invalid(self, command: &'static str) -> Option<InvalidSettings> {
        let Self { file, errors, .. } = self;
        (!errors.is_empty()).then_some(InvalidSettings { errors, file, command })
    }

    /// Refuses variables with Adit's prefix that no Adit program reads.
    pub(super) fn unknown_variables(&mut self) {
        let ours =
            self.environment.variables.iter().filter(|(name, _)| name.starts_with(environment::PREFIX));
        for (name, value) in ours {
            if !environment::is_known(name) && !environment::is_service_link(name, value) {
                self.errors.push((Origin::Variable, format!("{name}: {}", environment::unknown(name))));
            }
        }
    }

    /// The place of a flag's value: the flag, or its variable if the value came from there.
    fn place(&self, flag: &str, value: &str) -> (Origin, String) {
        match self.environment.variable_of(flag, value) {
            Some(variable) => (Origin::Variable, variable),
            None if flag.starts_with("--") || flag == "SERVICE" => (Origin::CommandLine, flag.to_owned()),
            None => (Origin::File, format!("{}: {flag}", self.file.as_deref().unwrap_or("adit.yaml"))),
        }
    }

    /// The value of a flag. The rule's words follow the value.
    pub(super) fn value<T>(
        &mut self,
        flag: &str,
        text: &str,
        rule: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match rule(text) {
            Ok(value) => Some(value),
            Err(rule) => {
                let (origin, place) = self.place(flag, text);
                self.refuse(origin, format!("{place}: {} {rule}", quoted(text)));
                None
            }
        }
    }

    /// A file of authorities, which has to hold certificates.
    pub(super) fn authorities(&mut self, flag: &str, path: &Path) -> PathBuf {
        if let Err(why) = tls::read_certificates(path) {
            let shown = path.display().to_string();
            let (origin, place) = self.place(flag, &shown);
            self.refuse(origin, format!("{place}: {shown} {why}"));
        }
        path.to_owned()
    }

    /// The token of the first level that names one.
    pub(super) fn token(
        &mut self,
        global: &Global,
        token_flags: TokenFlags,
        file: &File,
        config: Option<&Path>,
    ) -> Option<TokenSource> {
        let path = global.token_file.clone().map(TokenSource::File);
        let command = global.token_command.clone().map(TokenSource::Command);
        let text = self.environment.variable(TOKEN_VARIABLE);
        let text = text.map(|token| TokenSource::Text(token.trim().to_owned()));
        let (line_file, path) = if token_flags.token_file { (path, None) } else { (None, path) };
        let (line_command, command) =
            if token_flags.token_command { (command, None) } else { (None, command) };
        let levels = [
            (Origin::CommandLine, vec![("--token-file", line_file), ("--token-command", line_command)]),
            (
                Origin::Variable,
                vec![("ADIT_TOKEN_FILE", path), ("ADIT_TOKEN_COMMAND", command), (TOKEN_VARIABLE, text)],
            ),
        ];
        for (origin, level) in levels {
            let mut given =
                level.into_iter().filter_map(|(place, source)| source.map(|source| (place, source)));
            let Some((first, source)) = given.next() else { continue };
            if let Some((second, _)) = given.next() {
                self.refuse(origin, format!("{first}, {second}: give one token source, not two"));
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

    /// The tunnels of a command, and whether `--force` was given.
    pub(super) fn tunnels(
        &mut self,
        command: &Command,
        file: File,
        config: Option<&Path>,
    ) -> (Vec<TunnelSpec>, bool) {
        match command {
            Command::Http(http) => (self.http(http).into_iter().collect(), http.force || file.force),
            Command::Tcp(tcp) => (self.tcp(tcp).into_iter().collect(), tcp.force || file.force),
            Command::Start(start) => {
                let force = start.force || file.force;
                (self.chosen(&start.names, file.tunnels, config), force)
            }
            Command::Check => (self.chosen(&[], file.tunnels, config), false),
            _ => (vec![], false),
        }
    }

    fn http(&mut self, http: &Http) -> Option<TunnelSpec> {
        let service = self.service(Kind::Http, &http.service);
        let name = http.name.as_deref().and_then(|text| self.value("--name", text, values::name));
        let host_header = http
            .host_header
            .as_deref()
            .and_then(|text| self.value("--host-header", text, values::host_header));
        let protocol = http
            .upstream_protocol
            .as_deref()
            .and_then(|text| self.value("--upstream-protocol", text, values::upstream_protocol));
        let upstream_ca = http.upstream_ca.as_ref().map(|path| self.authorities("--upstream-ca", path));
        if let (Some(path), Some(service)) = (&upstream_ca, &service)
            && service.scheme != Scheme::Https
            && self.place("--upstream-ca", &path.display().to_string()).0 == Origin::CommandLine
        {
            let line =
                format!("--upstream-ca: {service} does not speak TLS: write https://, or leave the flag out");
            self.refuse(Origin::CommandLine, line);
        }
        Some(TunnelSpec {
            name,
            any_name: http.any_name,
            host_header,
            upstream_protocol: protocol.unwrap_or_default(),
            upstream_ca,
            ..TunnelSpec::new(service?)
        })
    }

    fn tcp(&mut self, tcp: &Tcp) -> Option<TunnelSpec> {
        let service = self.service(Kind::Tcp, &tcp.service);
        let port = tcp.port.as_deref().and_then(|text| self.value("--port", text, values::port));
        Some(TunnelSpec { port, ..TunnelSpec::new(service?) })
    }

    fn service(&mut self, kind: Kind, text: &str) -> Option<Service> {
        if text.contains(['/', '.']) && self.environment.directory.join(text).is_dir() {
            let rule = "is a directory: serve it with a web server, and give that one's port";
            self.refuse(Origin::CommandLine, format!("SERVICE: {} {rule}", quoted(text)));
            return None;
        }
        self.value("SERVICE", text, |text| values::service(kind, text))
    }

    /// The tunnels of the file. Those that are not chosen get `enabled: false`.
    fn chosen(
        &mut self,
        names: &[String],
        tunnels: Vec<ConfiguredTunnel>,
        config: Option<&Path>,
    ) -> Vec<TunnelSpec> {
        if config.is_none() {
            let line = "no adit.yaml here or in ~/.config/adit: write one, or name another with --config";
            self.refuse(Origin::CommandLine, line);
            return vec![];
        }
        for name in names.iter().filter(|name| !tunnels.iter().any(|tunnel| tunnel.key == **name)) {
            let known = tunnels.iter().map(|tunnel| tunnel.key.as_str());
            let meant = match adit_config::nearest(name, known.clone()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("it has: {}", known.collect::<Vec<_>>().join(", ")),
            };
            let line = format!("{} is not one of the file's tunnels; {meant}", quoted(name));
            self.refuse(Origin::CommandLine, line);
        }
        let chosen = tunnels.into_iter().map(|ConfiguredTunnel { key, mut spec }| {
            if !names.is_empty() {
                spec.enabled = names.contains(&key);
            }
            spec
        });
        let chosen: Vec<TunnelSpec> = chosen.collect();
        if self.is_valid() && !chosen.iter().any(|tunnel| tunnel.enabled) {
            self.refuse(
                Origin::File,
                format!("no enabled tunnel in {}", self.file.as_deref().unwrap_or("adit.yaml")),
            );
        }
        chosen
    }
}
