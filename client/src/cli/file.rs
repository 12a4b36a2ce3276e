//! Reads adit.yaml, or reports all of its errors at once.

mod reader;

use super::{args::When, values};
use crate::{
    address::RelayAddress,
    service::{Scheme, TunnelSpec},
};
use adit_config::yaml;
use adit_protocol::{Kind, hello::MAX_TUNNELS};
use clap::ValueEnum;
use reader::{Mapping, Reader};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The content of adit.yaml. Its paths are relative to the file's directory.
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
    /// As the flags of the same names.
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    pub(super) force: bool,
    pub(super) color: Option<When>,
    /// The tunnels in the file's order.
    pub(super) tunnels: Vec<ConfiguredTunnel>,
}

/// One tunnel of the file.
#[derive(Debug, PartialEq)]
pub(super) struct ConfiguredTunnel {
    /// Its key, by which `adit start` selects it.
    pub(super) key: String,
    pub(super) spec: TunnelSpec,
}

/// The keys of the file, in the order of the documentation.
const KEYS: [&str; 11] = [
    "relay",
    "tokenFile",
    "tokenCommand",
    "ca",
    "giveUpAfter",
    "json",
    "quiet",
    "verbose",
    "color",
    "force",
    "tunnels",
];

/// The keys of each tunnel, of HTTP tunnels, and of TCP tunnels.
const TUNNEL_KEYS: [&str; 4] = ["http", "tcp", "name", "enabled"];
const HTTP_KEYS: [&str; 4] = ["anyName", "hostHeader", "upstreamProtocol", "upstreamCa"];
const TCP_KEYS: [&str; 1] = ["port"];

/// Reads the text of a file in this directory.
///
/// # Errors
/// All errors in the order of the text, one line each: line, field, value and rule.
pub(super) fn parse(text: &str, directory: &Path) -> Result<File, Vec<String>> {
    let document = yaml::parse(text);
    let mut reader = Reader::new(document.problems, document.keys);
    let mut file = File::default();
    if let Some(mut root) = reader.root(&document.root) {
        file.relay = root.text("relay", values::relay);
        file.token_file = root.path("tokenFile", directory);
        file.token_command = root.text("tokenCommand", not_empty);
        file.ca = root.path("ca", directory);
        file.give_up_after = root.duration("giveUpAfter");
        file.json = root.boolean("json").unwrap_or(false);
        file.quiet = root.boolean("quiet").unwrap_or(false);
        file.verbose = root.boolean("verbose").unwrap_or(false);
        file.force = root.boolean("force").unwrap_or(false);
        file.color = root.text("color", color);
        if file.token_file.is_some() && file.token_command.is_some() {
            root.refuse("tokenCommand", "give one token source, not two: tokenFile is there as well");
        }
        if file.quiet && file.verbose {
            root.refuse("verbose", "use quiet or verbose, not both");
        }
        root.each("tunnels", MAX_TUNNELS, |key, tunnel| {
            let spec = tunnel_of(key, tunnel, directory);
            file.tunnels.extend(spec.map(|spec| ConfiguredTunnel { key: key.to_owned(), spec }));
        });
        root.end(&KEYS);
    }
    reader.finish(file, text)
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("is empty".into()) } else { Ok(text.to_owned()) }
}

fn color(text: &str) -> Result<When, String> {
    When::from_str(text, false).map_err(|_| "is not one of auto, always, never".into())
}

/// One entry of `tunnels`.
fn tunnel_of(key: &str, mut entry: Mapping<'_>, directory: &Path) -> Option<TunnelSpec> {
    let http = entry.scalar("http", |text| values::service(Kind::Http, text));
    let tcp = entry.scalar("tcp", |text| values::service(Kind::Tcp, text));
    match (entry.has("http"), entry.has("tcp")) {
        (true, true) => entry.refuse("tcp", "use http or tcp, not both"),
        (false, false) => entry.refuse_all("has no service: add http: or tcp: with a port"),
        _ => {}
    }
    let is_http = entry.has("http");
    let name = entry.scalar("name", if is_http { values::name } else { not_empty });
    if is_http && !entry.has("name") {
        entry.check_key(|| values::name(key).err());
    }
    let mut known = TUNNEL_KEYS.to_vec();
    let enabled = entry.boolean("enabled").unwrap_or(true);
    let mut spec = http.or(tcp).map(TunnelSpec::new);
    if is_http {
        known.extend(HTTP_KEYS);
        let any_name = entry.boolean("anyName").unwrap_or(false);
        let host_header = entry.text("hostHeader", values::host_header);
        let protocol = entry.text("upstreamProtocol", values::upstream_protocol);
        let ca = entry.path("upstreamCa", directory);
        if let Some(spec) = &mut spec {
            if ca.is_some() && spec.service.scheme != Scheme::Https {
                entry.refuse("upstreamCa", format!("{} does not speak TLS: write https://", spec.service));
            }
            spec.any_name = any_name;
            spec.host_header = host_header;
            spec.upstream_protocol = protocol.unwrap_or_default();
            spec.upstream_ca = ca;
        }
    } else {
        known.extend(TCP_KEYS);
        let port = entry.scalar("port", values::port);
        if let Some(spec) = &mut spec {
            spec.port = port;
        }
    }
    entry.end(&known);
    let mut spec = spec?;
    spec.name = Some(name.unwrap_or_else(|| key.to_owned()));
    spec.enabled = enabled;
    Some(spec)
}

#[cfg(test)]
mod tests;
