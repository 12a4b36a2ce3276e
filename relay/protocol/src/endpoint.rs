//! The public address of a tunnel, and the kind of traffic that it carries.
//!
//! Both have one text form, and everything that stores, sends or compares them goes by it: keys of the registry and the store,
//! the wire, tokens, command lines. A further kind is a variant here and the code that accepts its traffic; what else depends on
//! the kind asks the methods below.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// The kind of traffic that a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// HTTP requests and every Upgrade, by host name.
    Http,
    /// TCP connections, by port.
    Tcp,
}

/// Text that is not the name of a kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a kind of tunnel: it must be http or tcp")]
pub struct InvalidKind;

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Http, Self::Tcp];

    /// The kind as it travels and is shown, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }

    /// Whether its endpoints are ports of the region; else they are host names, which relays share one port for.
    pub fn is_by_port(self) -> bool {
        match self {
            Self::Http => false,
            Self::Tcp => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(InvalidKind)
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

    /// The endpoint of a port, 1 to 65535; `None` if endpoints of this kind are not ports.
    pub fn at_port(kind: Kind, port: u16) -> Option<Self> {
        match kind {
            Kind::Http => None,
            Kind::Tcp => Some(Self::Tcp(port)),
        }
    }

    /// The kind of tunnel that this endpoint can have.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Host(_) => Kind::Http,
            Self::Tcp(_) => Kind::Tcp,
        }
    }

    /// The host name, if it is one.
    pub fn as_host(&self) -> Option<&Arc<str>> {
        match self {
            Self::Host(host) => Some(host),
            Self::Tcp(_) => None,
        }
    }

    /// The port, if it is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Host(_) => None,
            Self::Tcp(port) => Some(*port),
        }
    }

    /// A URL for consumers: `https://shop.eu.example.com` or `tcp://eu.example.com:20022`. `domain` is the region's, and
    /// `https_port` the port on which consumers reach its host names.
    pub fn url(&self, domain: &str, https_port: u16) -> String {
        match (self, self.port()) {
            (_, Some(port)) => format!("{}://{domain}:{port}", self.kind()),
            (host, None) if https_port == 443 => format!("https://{host}"),
            (host, None) => format!("https://{host}:{https_port}"),
        }
    }

    /// The endpoint's name within the whole provider: a host name is unique there, a port is its region's own and becomes
    /// `<region>/tcp:20022`.
    pub fn provider_key(&self, region: &str) -> String {
        match self.port() {
            Some(_) => format!("{region}/{self}"),
            None => self.to_string(),
        }
    }

    /// The endpoint of a [`Endpoint::provider_key`]; `None` if it is a port of another region, or is not such a key.
    pub fn from_provider_key(key: &str, region: &str) -> Option<Self> {
        let (text, is_by_port) = match key.split_once('/') {
            Some((of, text)) => (Some(text).filter(|_| of == region)?, true),
            None => (key, false),
        };
        text.parse().ok().filter(|endpoint: &Self| endpoint.kind().is_by_port() == is_by_port)
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
        if let Some((kind, port)) = text.split_once(':') {
            let kind: Kind = kind.parse().map_err(|_| InvalidEndpoint)?;
            let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidEndpoint)?;
            return Self::at_port(kind, port).ok_or(InvalidEndpoint);
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
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

    const REGION: &str = "eu.example.com";

    #[test]
    fn each_kind_has_one_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!("HTTP".parse::<Kind>(), Err(InvalidKind));
    }

    #[test]
    fn an_endpoint_has_one_text() {
        for (text, kind, key, url) in [
            ("shop.eu.example.com", Kind::Http, "shop.eu.example.com", "https://shop.eu.example.com"),
            ("tcp:1", Kind::Tcp, "eu.example.com/tcp:1", "tcp://eu.example.com:1"),
            ("tcp:65535", Kind::Tcp, "eu.example.com/tcp:65535", "tcp://eu.example.com:65535"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.kind()), (text, kind));
            assert_eq!(endpoint.kind().is_by_port(), endpoint.port().is_some(), "{text}");
            assert_eq!(endpoint.as_host().is_some(), endpoint.port().is_none(), "{text}");
            assert_eq!(endpoint.provider_key(REGION), key);
            assert_eq!(Endpoint::from_provider_key(key, REGION), Some(endpoint.clone()));
            assert_eq!(endpoint.url(REGION, 443), url);
        }
        for bad in [
            "",
            "tcp:",
            "tcp:0",
            "tcp:65536",
            "tcp:-1",
            "http:80",
            "udp:1",
            "Shop.example",
            "a..b",
            "a_b",
            "a b",
            "x.",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_port_belongs_to_one_region() {
        for (key, region) in
            [("us.example.com/tcp:1", REGION), ("tcp:1", REGION), ("eu.example.com/shop", REGION)]
        {
            assert_eq!(Endpoint::from_provider_key(key, region), None, "{key}");
        }
        let shop = Endpoint::host("shop.us.example.com");
        assert_eq!(Endpoint::from_provider_key("shop.us.example.com", REGION), Some(shop.clone()));
        assert_eq!(shop.url(REGION, 8443), "https://shop.us.example.com:8443");
    }
}
