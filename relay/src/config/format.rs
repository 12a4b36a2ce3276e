//! The formats of relay.yaml's texts. Each rule is in words that follow the value.

use super::RegistryUrl;
use adit_config::{DnsName, Invalid, Secret, check_format, nearest};
use adit_protocol::RelayId;
use adit_store::StoreUrl;
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

pub(super) const CERTIFIED_NAME: &str = "certified-name";
pub(super) const CIDR: &str = "cidr";
pub(super) const EMAIL: &str = "email";
pub(super) const HOST_PORT: &str = "host-port";
pub(super) const HTTPS_URL: &str = "https-url";
pub(super) const LISTEN: &str = "listen";
pub(super) const LISTEN_OR_OFF: &str = "listen-or-off";
pub(super) const LOG_LEVEL: &str = "log-level";
pub(super) const REGISTRY: &str = "registry";
pub(super) const RELAY_ID: &str = "relay-id";
pub(super) const STORE: &str = "store";

/// The value that turns a listener off.
pub(super) const OFF: &str = "off";

/// Checks a text against a format that a schema names.
pub(super) fn check(format: &str, text: &str) -> Result<(), Invalid> {
    match format {
        CERTIFIED_NAME => certified_name(text),
        CIDR => cidr(text).map(drop),
        EMAIL => email(text),
        HOST_PORT => host_port(text).map(drop),
        HTTPS_URL => https_url(text),
        LISTEN => listen(text).map(drop),
        LISTEN_OR_OFF if text == OFF => Ok(()),
        LISTEN_OR_OFF => listen(text).map(drop),
        LOG_LEVEL => log_level(text),
        REGISTRY => registry(text).map(drop),
        RELAY_ID => relay_id(text).map(drop),
        STORE => store(text).map(drop),
        _ => check_format(format, text),
    }
}

/// A name that a CA can certify: a domain, or a wildcard right below one.
fn certified_name(text: &str) -> Result<(), Invalid> {
    let parent = text.strip_prefix("*.").unwrap_or(text);
    let name = DnsName::from_str(parent)?;
    if parent.contains('.') {
        return Ok(());
    }
    Err(Invalid::new(format!("cannot be certified: {:?} has no domain above it", name.as_str())))
}

fn https_url(text: &str) -> Result<(), Invalid> {
    let valid = text.parse::<http::Uri>().is_ok_and(|url| {
        url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty())
    });
    if valid {
        Ok(())
    } else {
        Err(Invalid::new("is not an https:// URL, like https://acme.example.com/directory"))
    }
}

/// An address and port to listen on. An absent address stands for all of both IP versions.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Invalid> {
    if let Some(port) = text.strip_prefix(':') {
        return Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), self::port(port)?));
    }
    text.parse().map_err(|_| {
        Invalid::new(match text.parse::<u16>() {
            Ok(port) => format!(
                "is only a port: write \":{port}\" for all addresses, \"127.0.0.1:{port}\" for this machine"
            ),
            Err(_) => {
                "is not an address and port to listen on, like \":443\", \"127.0.0.1:443\" or \"[::1]:443\""
                    .to_owned()
            }
        })
    })
}

fn port(text: &str) -> Result<u16, Invalid> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.ok_or_else(|| Invalid::new("has a port that is not a number from 0 to 65535"))
}

/// A host and port to dial: a name or address, and a port from 1.
pub(super) fn host_port(text: &str) -> Result<(&str, u16), Invalid> {
    let rule = || Invalid::new("is not a host and port, like relay-0.example:7443 or [2001:db8::1]:7443");
    let (host, number) = text.rsplit_once(':').ok_or_else(rule)?;
    let number = port(number).ok().filter(|port| *port > 0).ok_or_else(rule)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bare {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            (1..=253).contains(&host.len()) && host.bytes().all(plain)
        }
    };
    if valid { Ok((host, number)) } else { Err(rule()) }
}

/// A network in CIDR notation whose host bits are zero.
pub(super) fn cidr(text: &str) -> Result<IpNet, Invalid> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(Invalid::new(format!("has no prefix length: write {}", IpNet::from(address))));
    }
    let net: IpNet =
        text.parse().map_err(|_| Invalid::new("is not a network, like 10.0.0.0/8 or 2001:db8::/32"))?;
    if net.trunc() == net {
        return Ok(net);
    }
    Err(Invalid::new(format!("has bits set beyond its prefix: write {}", net.trunc())))
}

fn email(text: &str) -> Result<(), Invalid> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '"' | ',');
    let parts = text
        .split_once('@')
        .filter(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    if parts.is_some() && text.len() <= 254 && text.chars().all(plain) {
        return Ok(());
    }
    Err(Invalid::new("is not an e-mail address, like abuse@example.com"))
}

fn log_level(text: &str) -> Result<(), Invalid> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for directive in text.split(',') {
        let (target, level) =
            directive.split_once('=').map_or(("", directive), |(target, level)| (target, level));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-');
        if !LEVELS.contains(&level) || !target.bytes().all(plain) || directive.starts_with('=') {
            let meant =
                nearest(level, LEVELS).map(|level| format!("; did you mean {level}?")).unwrap_or_default();
            let rule =
                "is not off, error, warn, info, debug or trace, or directives like info,adit_relay=debug";
            return Err(Invalid::new(format!("{rule}{meant}")));
        }
    }
    Ok(())
}

/// `memory:`, or Redis: `redis://` or `rediss://` with host, port and number of a database.
pub(super) fn registry(text: &str) -> Result<RegistryUrl, Invalid> {
    if text == "memory:" {
        return Ok(RegistryUrl::Memory);
    }
    let Some(rest) = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://")) else {
        return Err(Invalid::new(
            "is not a registry: write memory:, redis://host:6379/0 or rediss://host:6379/0",
        ));
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let has_port = address.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let address = if has_port { address.to_owned() } else { format!("{address}:6379") };
    if host_port(&address).is_err() {
        return Err(Invalid::new(
            "is not a registry: it has no valid host and port, like redis://host:6379/0",
        ));
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err(Invalid::new(
            "is not a registry: what follows host and port is not the number of a database",
        ));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Invalid::new(
            "is not a registry: it has a space or control character, which has to be escaped",
        ));
    }
    Ok(RegistryUrl::Redis(Secret::new(text)))
}

pub(super) fn store(text: &str) -> Result<StoreUrl, Invalid> {
    StoreUrl::from_str(text).map_err(|rule| Invalid::new(format!("is not a store: {rule}")))
}

pub(super) fn relay_id(text: &str) -> Result<RelayId, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new("is not a relay's name, which has 1 to 64 of a-z, 0-9, '-' and '_'"))
}
