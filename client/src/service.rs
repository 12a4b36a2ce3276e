//! The specification of a tunnel: the address of its local service, and how it is served.

pub(crate) mod tls;

use adit_protocol::{Kind, TunnelOptions};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, str::FromStr};

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP in clear; HTTP/1.1, or what [`TunnelSpec::upstream_protocol`] says.
    Http,
    /// HTTP over TLS; the version by ALPN.
    Https,
    /// HTTP/2 in clear with prior knowledge (RFC 9113 section 3.3).
    H2c,
    /// Any bytes.
    Tcp,
}

impl Scheme {
    /// The scheme as it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Tcp => "tcp",
        }
    }

    /// The scheme of a service that is given without one.
    pub(crate) fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Http => Self::Http,
            Kind::Tcp => Self::Tcp,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Http | Self::Https | Self::H2c => Kind::Http,
            Self::Tcp => Kind::Tcp,
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Http | Self::H2c => Some(80),
            Self::Https => Some(443),
            Self::Tcp => None,
        }
    }
}

/// The address of a local service. As text: `http://127.0.0.1:3000`, or `127.0.0.1:22` for TCP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// A host name or an IP address; IPv6 without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// Why a text is not the address of a service.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidService {
    /// The port is not a number from 1 to 65535.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// The port is missing where nothing else says which it is.
    #[error("the port is missing: write host:port")]
    PortMissing,
    /// The host is empty or has characters that no host has.
    #[error("the host is not a host name or an IP address (IPv6 in brackets)")]
    Host,
    /// The scheme does not fit the tunnel's kind.
    #[error("a {0} tunnel's service is {1}")]
    Scheme(Kind, &'static str),
    /// A path, a query, a fragment or a user.
    #[error("only scheme, host and port count: leave out what stands before '@' or after the port")]
    Rest,
}

impl Service {
    /// Reads `3000`, `:3000`, `host:port` or a URL as the service of a tunnel of this kind.
    ///
    /// # Errors
    /// [`InvalidService`] says which rule the text breaks.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, InvalidService> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme_of(kind, scheme)?, rest),
            None => (Scheme::of_kind(kind), text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        // `:3000`, as Go and Docker write a port of this computer.
        let authority = authority.strip_prefix(':').filter(|port| is_digits(port)).unwrap_or(authority);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(InvalidService::Rest);
        }
        if is_digits(authority) {
            return Ok(Self { scheme, host: "127.0.0.1".into(), port: port(authority)? });
        }
        let (host, port) = host_and_port(authority)?;
        let port = port.or(scheme.default_port().filter(|_| text.contains("://")));
        Ok(Self { scheme, host, port: port.ok_or(InvalidService::PortMissing)? })
    }

    /// The kind of tunnel that can publish it.
    pub fn kind(&self) -> Kind {
        self.scheme.kind()
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn scheme_of(kind: Kind, text: &str) -> Result<Scheme, InvalidService> {
    let known = match text.to_ascii_lowercase().as_str() {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        "h2c" => Some(Scheme::H2c),
        "tcp" => Some(Scheme::Tcp),
        _ => None,
    };
    known.filter(|s| s.kind() == kind).ok_or(InvalidService::Scheme(
        kind,
        match kind {
            Kind::Http => "3000, host:port, http://, https:// or h2c://",
            Kind::Tcp => "22, host:port or tcp://",
        },
    ))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn port(text: &str) -> Result<u16, InvalidService> {
    text.parse().ok().filter(|port| is_digits(text) && *port != 0).ok_or(InvalidService::Port)
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), InvalidService> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(InvalidService::Host)?;
        let host: std::net::Ipv6Addr = host.parse().map_err(|_| InvalidService::Host)?;
        return match rest.strip_prefix(':') {
            Some(text) => Ok((host.to_string(), Some(port(text)?))),
            None if rest.is_empty() => Ok((host.to_string(), None)),
            None => Err(InvalidService::Host),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, text)) if !text.contains(':') => (host, Some(port(text)?)),
        Some(_) => return Err(InvalidService::Host),
        None => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(&host);
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(InvalidService::Host);
    }
    Ok((host, port))
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Tcp => f.write_str(&self.authority()),
            scheme => write!(f, "{}://{}", scheme.as_str(), self.authority()),
        }
    }
}

/// Which version of HTTP the service is spoken to with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// `http://`: HTTP/1.1; `https://`: by ALPN; `h2c://`: HTTP/2.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 always; in clear with prior knowledge.
    Http2,
}

impl FromStr for UpstreamProtocol {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "http1" => Ok(Self::Http1),
            "http2" => Ok(Self::Http2),
            _ => Err("it is one of auto, http1, http2"),
        }
    }
}

/// One tunnel as its user wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelSpec {
    /// The service that it publishes; its scheme decides the tunnel's kind.
    pub service: Service,
    /// The name that people know it by. An `http` tunnel asks for it as the first label of its host name.
    pub name: Option<String>,
    /// `http`: whether a random name will do if `name` cannot be had.
    pub any_name: bool,
    /// `tcp`: the public port to ask for; `None`: any.
    pub port: Option<u16>,
    /// `http`: the `Host` that the service gets; `None`: the one that the consumer sent.
    pub host_header: Option<String>,
    /// `http`: the version of HTTP that the service gets.
    pub upstream_protocol: UpstreamProtocol,
    /// `https://`: a PEM file of the authorities to trust beside the system's.
    pub upstream_ca: Option<PathBuf>,
    /// What the relays that accept its consumers are to do. A key of `adit.yaml` that a relay acts on sets a field of it.
    pub relay_options: TunnelOptions,
    /// `false`: configured, but not opened.
    pub enabled: bool,
}

impl TunnelSpec {
    /// A tunnel to this service with nothing else asked for.
    pub fn new(service: Service) -> Self {
        Self {
            service,
            name: None,
            any_name: false,
            port: None,
            host_header: None,
            upstream_protocol: UpstreamProtocol::Auto,
            upstream_ca: None,
            relay_options: TunnelOptions::default(),
            enabled: true,
        }
    }

    /// The kind of traffic that it carries.
    pub fn kind(&self) -> Kind {
        self.service.kind()
    }

    /// The settings that are not at their defaults, by their names in `adit.yaml`.
    pub fn options(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut options = serde_json::Map::new();
        if self.any_name {
            options.insert("anyName".into(), true.into());
        }
        if let Some(port) = self.port {
            options.insert("port".into(), port.into());
        }
        if let Some(host) = &self.host_header {
            options.insert("hostHeader".into(), host.as_str().into());
        }
        if self.upstream_protocol != UpstreamProtocol::Auto {
            let text = if self.upstream_protocol == UpstreamProtocol::Http1 { "http1" } else { "http2" };
            options.insert("upstreamProtocol".into(), text.into());
        }
        if let Some(file) = &self.upstream_ca {
            options.insert("upstreamCa".into(), file.display().to_string().into());
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(text: &str) -> Result<String, InvalidService> {
        Service::parse(Kind::Http, text).map(|s| s.to_string())
    }

    fn tcp(text: &str) -> Result<String, InvalidService> {
        Service::parse(Kind::Tcp, text).map(|s| s.to_string())
    }

    #[test]
    fn a_port_a_host_with_port_and_a_url_are_services() {
        for (text, service) in [
            ("3000", "http://127.0.0.1:3000"),
            (":3000", "http://127.0.0.1:3000"),
            ("https://:8443", "https://127.0.0.1:8443"),
            ("localhost:3000", "http://localhost:3000"),
            ("http://App.internal", "http://app.internal:80"),
            ("https://127.0.0.1:8443/", "https://127.0.0.1:8443"),
            ("https://app", "https://app:443"),
            ("h2c://127.0.0.1:50051", "h2c://127.0.0.1:50051"),
            ("[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]:80"),
            ("my_app:80", "http://my_app:80"),
        ] {
            assert_eq!(http(text).as_deref(), Ok(service), "{text}");
        }
        assert_eq!(tcp("22").as_deref(), Ok("127.0.0.1:22"));
        assert_eq!(tcp("db:5432").as_deref(), Ok("db:5432"));
        assert_eq!(tcp("tcp://[::1]:5432").as_deref(), Ok("[::1]:5432"));
    }

    #[test]
    fn what_is_not_a_service_says_which_rule_it_breaks() {
        for (text, error) in [
            ("0", InvalidService::Port),
            ("65536", InvalidService::Port),
            ("localhost:+80", InvalidService::Port),
            ("localhost:", InvalidService::Port),
            ("localhost", InvalidService::PortMissing),
            ("", InvalidService::Host),
            ("http://", InvalidService::Host),
            ("a b:80", InvalidService::Host),
            ("::1:80", InvalidService::Host),
            ("[::1:80", InvalidService::Host),
            ("http://localhost:80/path", InvalidService::Rest),
            ("http://me@localhost:80", InvalidService::Rest),
        ] {
            assert_eq!(http(text), Err(error), "{text}");
        }
        assert!(matches!(http("tcp://a:1"), Err(InvalidService::Scheme(Kind::Http, _))));
        assert!(matches!(tcp("http://a:1"), Err(InvalidService::Scheme(Kind::Tcp, _))));
        assert_eq!(tcp("tcp://db"), Err(InvalidService::PortMissing));
    }

    #[test]
    fn text_and_back() {
        for text in ["http://127.0.0.1:3000", "https://[::1]:1", "h2c://a:65535"] {
            assert_eq!(http(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn only_what_was_asked_for_is_an_option() {
        let mut spec = TunnelSpec::new(Service::parse(Kind::Http, "3000").unwrap());
        assert!(spec.options().is_empty());
        spec.any_name = true;
        spec.upstream_protocol = UpstreamProtocol::Http2;
        let options = serde_json::Value::Object(spec.options());
        assert_eq!(options, serde_json::json!({"anyName": true, "upstreamProtocol": "http2"}));
    }
}
