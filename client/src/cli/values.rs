//! Values as the command line and adit.yaml write them alike.
//!
//! Errors are rules in words that follow the value.

use crate::{
    address::RelayAddress,
    service::{Service, UpstreamProtocol},
};
use adit_protocol::{Kind, Name, name::InvalidName};
use std::{str::FromStr, time::Duration};

/// The region's domain with or without a port.
pub(super) fn relay(text: &str) -> Result<RelayAddress, String> {
    text.parse().map_err(|rule| format!("is not a region: {rule}"))
}

/// The address of a local service.
pub(super) fn service(kind: Kind, text: &str) -> Result<Service, String> {
    Service::parse(kind, text).map_err(|rule| format!("is not a service: {rule}"))
}

/// A tunnel's name. A reserved one passes: the client refuses it with a code of its own.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.parse::<Name>() {
        Ok(_) | Err(InvalidName::Reserved) => Ok(text.to_owned()),
        Err(rule) => Err(format!("is not a name: {rule}")),
    }
}

/// A public TCP port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or("is not a port from 1 to 65535".to_owned())
}

/// The `Host` that a service gets.
pub(super) fn host_header(text: &str) -> Result<String, String> {
    let rule = "is not a host, or host:port";
    let authority = http::uri::Authority::from_str(text).map_err(|_| rule)?;
    if authority.as_str().contains('@') { Err(rule.into()) } else { Ok(text.to_owned()) }
}

/// The version of HTTP that a service gets.
pub(super) fn upstream_protocol(text: &str) -> Result<UpstreamProtocol, String> {
    text.parse().map_err(|rule| format!("is not a version of HTTP: {rule}"))
}

/// A duration with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    adit_config::duration::parse(text).map_err(|rule| rule.to_string())
}
