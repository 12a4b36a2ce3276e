//! Where a region's relays are: its domain and the port of `connect.<domain>`.

use adit_protocol::CONNECT_LABEL;
use std::{fmt, net::IpAddr, str::FromStr};

/// The port where relays answer unless the address says otherwise.
const DEFAULT_PORT: u16 = 443;

/// A region as its users write it: `eu.example.com` or `tunnels.adit.localhost:8443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    domain: String,
    port: u16,
}

/// Why a text is not the address of a region.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidRelay {
    /// The part before the port is not a host name, or leaves no room for `connect.` before it.
    #[error("it is the region's domain, for example eu.example.com, or domain:port")]
    Domain,
    /// An IP address: tunnels are names below the region's domain, so a relay has to have one.
    #[error("it is a domain, not an IP address: tunnels are names below it")]
    Address,
    /// The port is not a number from 1 to 65535.
    #[error("a port is a number from 1 to 65535")]
    Port,
}

impl RelayAddress {
    /// The region's domain: lower case, without a final dot.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host that clients dial.
    pub fn host(&self) -> String {
        format!("{CONNECT_LABEL}.{}", self.domain)
    }

    /// Any region, for settings that are checked and not used.
    #[cfg(feature = "cli")]
    pub(crate) fn placeholder() -> Self {
        Self { domain: "region.invalid".into(), port: DEFAULT_PORT }
    }

    /// Whether the name stands for this computer, whatever a resolver says (RFC 6761 section 6.3).
    pub(crate) fn is_local(&self) -> bool {
        self.domain == "localhost" || self.domain.ends_with(".localhost")
    }
}

impl FromStr for RelayAddress {
    type Err = InvalidRelay;

    fn from_str(text: &str) -> Result<Self, InvalidRelay> {
        let text = text.strip_prefix("https://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.starts_with('[') || text.parse::<IpAddr>().is_ok() {
            return Err(InvalidRelay::Address);
        }
        let (domain, port) = match text.split_once(':') {
            Some((domain, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidRelay::Port)?;
                (domain, port)
            }
            None => (text, DEFAULT_PORT),
        };
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        if domain.parse::<IpAddr>().is_ok() {
            return Err(InvalidRelay::Address);
        }
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if domain.len() + CONNECT_LABEL.len() >= 253 || !domain.split('.').all(label) {
            return Err(InvalidRelay::Domain);
        }
        Ok(Self { domain, port })
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port == DEFAULT_PORT {
            f.write_str(&self.domain)
        } else {
            write!(f, "{}:{}", self.domain, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_with_or_without_a_port_is_a_region() {
        for (text, shown, host, port) in [
            ("eu.example.com", "eu.example.com", "connect.eu.example.com", 443),
            ("EU.example.com.", "eu.example.com", "connect.eu.example.com", 443),
            ("https://eu.example.com/", "eu.example.com", "connect.eu.example.com", 443),
            ("adit.localhost:8443", "adit.localhost:8443", "connect.adit.localhost", 8443),
        ] {
            let address: RelayAddress = text.parse().unwrap();
            assert_eq!(
                (address.to_string(), address.host(), address.port()),
                (shown.into(), host.into(), port)
            );
        }
        assert!("adit.localhost:8443".parse::<RelayAddress>().unwrap().is_local());
        assert!(!"localhost.example".parse::<RelayAddress>().unwrap().is_local());
    }

    #[test]
    fn what_is_not_a_region_says_which_rule_it_breaks() {
        for (text, error) in [
            ("", InvalidRelay::Domain),
            ("a..b", InvalidRelay::Domain),
            ("a b", InvalidRelay::Domain),
            ("http://x", InvalidRelay::Port),
            ("eu.example.com:0", InvalidRelay::Port),
            ("eu.example.com:65536", InvalidRelay::Port),
            ("127.0.0.1", InvalidRelay::Address),
            ("127.0.0.1:8443", InvalidRelay::Address),
            ("[::1]:8443", InvalidRelay::Address),
        ] {
            assert_eq!(text.parse::<RelayAddress>(), Err(error), "{text}");
        }
        assert_eq!("x".repeat(250).parse::<RelayAddress>(), Err(InvalidRelay::Domain));
    }
}
