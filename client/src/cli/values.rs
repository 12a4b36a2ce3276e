//! Values as the command line and adit.yaml write them alike.
//!
//! Errors are rules in words that follow the value.

use crate::address::RelayAddress;
use std::str::FromStr;

/// The region's domain with or without a port.
pub(super) fn relay(text: &str) -> Result<RelayAddress, String> {
    text.parse().map_err(|rule| format!("is not a region: {rule}"))
}

/// A public TCP port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or("is not a port from 1 to 65535".to_owned())
}

/// What a service gets as its Host.
pub(super) fn host_header(text: &str) -> Result<String, String> {
    let rule = "is not a host, or host:port";
    let authority = http::uri::Authority::from_str(text).map_err(|_| rule)?;
    if authority.as_str().contains('@') { Err(rule.into()) } else { Ok(text.to_owned()) }
}
