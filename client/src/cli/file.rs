//! adit.yaml: what it says, or everything that is wrong with it.

mod reader;

use crate::{
    address::RelayAddress,
    service::{Service, TunnelSpec, UpstreamProtocol},
};
use adit_config::yaml;
use adit_protocol::{Kind, Name, hello::MAX_TUNNELS};
use reader::Reader;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What adit.yaml says. Paths in it are relative to the file's directory.
#[derive(Debug, Default, PartialEq)]
pub(super) struct File {
    /// The region.
    pub(super) relay: Option<RelayAddress>,
    /// A file with the token.
    pub(super) token_file: Option<PathBuf>,
    /// A command that prints the token.
    pub(super) token_command: Option<String>,
    /// Authorities to trust for the relay.
    pub(super) ca: Option<PathBuf>,
    /// How long to try without a relay.
    pub(super) give_up_after: Option<Duration>,
    /// The tunnels in alphabetical order; each has a name.
    pub(super) tunnels: Vec<TunnelSpec>,
}

/// Reads the text of a file in this directory.
///
/// # Errors
/// All that is wrong with it, one line each: field, value and rule.
pub(super) fn parse(text: &str, directory: &Path) -> Result<File, Vec<String>> {
    let document = yaml::parse(text);
    let mut reader = Reader::new(document.problems);
    let mut file = File::default();
    if let Some(mut root) = reader.root(&document.root) {
        file.relay = root.text("relay", super::values::relay);
        file.token_file = root.path("tokenFile", directory);
        file.token_command = root.text("tokenCommand", not_empty);
        file.ca = root.path("ca", directory);
        file.give_up_after = root
            .text("giveUpAfter", |text| adit_config::duration::parse(text).map_err(|rule| rule.to_string()));
        if file.token_file.is_some() && file.token_command.is_some() {
            root.refuse("tokenCommand", "is one source of the token too many: tokenFile is there as well");
        }
        root.each("tunnels", MAX_TUNNELS, |name, tunnel| {
            file.tunnels.extend(tunnel_of(name, tunnel, directory));
        });
        root.end(&["relay", "tokenFile", "tokenCommand", "ca", "giveUpAfter", "tunnels"]);
    }
    reader.finish(file)
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("is empty".into()) } else { Ok(text.to_owned()) }
}

/// One entry of `tunnels`.
fn tunnel_of(name: &str, mut entry: reader::Mapping<'_>, directory: &Path) -> Option<TunnelSpec> {
    let service = |kind| {
        move |text: &str| Service::parse(kind, text).map_err(|rule| format!("is not a service: {rule}"))
    };
    let http = entry.scalar("http", service(Kind::Http));
    let tcp = entry.scalar("tcp", service(Kind::Tcp));
    let kinds = [entry.has("http"), entry.has("tcp")];
    match kinds {
        [true, true] => entry.refuse("tcp", "is one kind too many: a tunnel has http or tcp"),
        [false, false] => entry.refuse_all("has no service: a tunnel has http or tcp"),
        _ => {}
    }
    let is_http = kinds[0];
    if is_http {
        entry.check_key(|| {
            name.parse::<Name>().err().map(|rule| format!("is not a name that can be had: {rule}"))
        });
    }
    let mut known = vec!["http", "tcp", "enabled"];
    let enabled = entry.boolean("enabled").unwrap_or(true);
    let mut spec = http.or(tcp).map(TunnelSpec::new);
    if is_http {
        known.extend(["anyName", "hostHeader", "upstreamProtocol", "upstreamCa"]);
        let any_name = entry.boolean("anyName").unwrap_or(false);
        let host_header = entry.text("hostHeader", super::values::host_header);
        let protocol = entry.text("upstreamProtocol", |text| {
            text.parse::<UpstreamProtocol>().map_err(|rule| format!("is not a version of HTTP: {rule}"))
        });
        let ca = entry.path("upstreamCa", directory);
        if let Some(spec) = &mut spec {
            spec.any_name = any_name;
            spec.host_header = host_header;
            spec.upstream_protocol = protocol.unwrap_or_default();
            spec.upstream_ca = ca;
        }
    } else {
        known.push("port");
        let port = entry.scalar("port", super::values::port);
        if let Some(spec) = &mut spec {
            spec.port = port;
        }
    }
    entry.end(&known);
    let mut spec = spec?;
    spec.name = Some(name.to_owned());
    spec.enabled = enabled;
    Some(spec)
}

#[cfg(test)]
mod tests;
