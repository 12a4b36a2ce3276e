//! The public address of a tunnel, and the kind of traffic that it takes.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// HTTP requests and every Upgrade, by host name.
    Http,
    /// TCP connections, by port.
    Tcp,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        })
    }
}

/// Where consumers reach a tunnel within its region. As text: `shop.eu.example.com` or `tcp:20022`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// A host name: lower case, without a final dot, without a port.
    Host(Arc<str>),
    /// A public TCP port, 1 to 65535.
    Tcp(u16),
}

/// Text that is neither a lower-case host name nor `tcp:` with a port from 1 to 65535.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an endpoint: it must be a lower-case host name, or 'tcp:' with a port from 1 to 65535")]
pub struct InvalidEndpoint;

impl Endpoint {
    /// The endpoint of a host name that has been normalised already.
    pub fn host(host: &str) -> Self {
        Self::Host(host.into())
    }

    /// The kind of tunnel that this endpoint can have.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Host(_) => Kind::Http,
            Self::Tcp(_) => Kind::Tcp,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Tcp(port) => write!(f, "tcp:{port}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        if let Some(port) = text.strip_prefix("tcp:") {
            let port: u16 = port.parse().map_err(|_| InvalidEndpoint)?;
            return if port == 0 { Err(InvalidEndpoint) } else { Ok(Self::Tcp(port)) };
        }
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self::host(text))
        } else {
            Err(InvalidEndpoint)
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;
    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["shop.eu.example.com", "tcp:1", "tcp:65535"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for bad in ["", "tcp:", "tcp:0", "tcp:65536", "tcp:-1", "Shop.example", "a..b", "a_b", "a b", "x."] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?}");
        }
    }
}
