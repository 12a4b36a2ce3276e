//! The way out through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6).

use base64::{Engine, prelude::BASE64_STANDARD};
use std::{fmt, io, net::IpAddr, str::FromStr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The most bytes of a proxy's answer.
const MAX_RESPONSE_BYTES: usize = 16 * 1024;

/// An HTTP proxy. Its password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    authorization: Option<String>,
}

/// Why a text is not the address of a proxy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum InvalidProxy {
    /// A scheme other than `http`.
    #[error("a proxy is http://host:port; other kinds are not supported")]
    Scheme,
    /// The host is missing, or the port is not a number from 1 to 65535.
    #[error("a proxy is http://host:port, with user:password@ before the host if it needs them")]
    Address,
}

/// Why a proxy did not let the connection through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the connection to the proxy failed")]
    Connection(#[from] io::Error),
    #[error("the proxy refused with status {0}")]
    Refused(u16),
    #[error("the proxy does not speak HTTP")]
    Garbage,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(InvalidProxy::Scheme),
            None => text,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let authority: http::uri::Authority = address.parse().map_err(|_| InvalidProxy::Address)?;
        let port = if authority.as_str() == authority.host() {
            80
        } else {
            authority.port_u16().filter(|port| *port != 0).ok_or(InvalidProxy::Address)?
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(InvalidProxy::Address);
        }
        let basic = |user| format!("Basic {}", BASE64_STANDARD.encode(percent_decode(user)));
        Ok(Self { host, port, authorization: user.map(basic) })
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

impl Proxy {
    /// Makes the connection to the proxy one to this host.
    pub(super) async fn open(
        &self,
        mut tcp: TcpStream,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, ProxyError> {
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        tcp.write_all(request.as_bytes()).await?;
        // One byte at a time: all bytes after the response are the relay's.
        let mut answer = vec![];
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == MAX_RESPONSE_BYTES {
                return Err(ProxyError::Garbage);
            }
            answer.push(tcp.read_u8().await?);
        }
        match status(&answer) {
            Some(200..=299) => Ok(tcp),
            Some(other) => Err(ProxyError::Refused(other)),
            None => Err(ProxyError::Garbage),
        }
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.split(|b| *b == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// Which connections go through a proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyRules {
    proxy: Option<Proxy>,
    except: Vec<String>,
}

impl ProxyRules {
    /// Reads `HTTPS_PROXY` and `NO_PROXY`, in upper or lower case.
    ///
    /// # Errors
    /// When the proxy is not one that can be used.
    pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidProxy> {
        let either = |name: &str| {
            variable(name).or_else(|| variable(&name.to_lowercase())).filter(|value| !value.trim().is_empty())
        };
        let proxy = either("HTTPS_PROXY").map(|text| text.trim().parse()).transpose()?;
        let except = either("NO_PROXY").unwrap_or_default();
        let except = except.split([',', ' ']).filter(|e| !e.is_empty()).map(str::to_lowercase).collect();
        Ok(Self { proxy, except })
    }

    /// The proxy for this host, if its connections go through one.
    pub(crate) fn for_host(&self, host: &str, port: u16) -> Option<&Proxy> {
        let local = host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback());
        let excepted = self.except.iter().any(|rule| covers(rule, host, port));
        self.proxy.as_ref().filter(|_| !local && !excepted)
    }
}

/// Whether a rule of `NO_PROXY` (`*`, `example.com`, `.example.com`, `example.com:8443`) covers this host.
fn covers(rule: &str, host: &str, port: u16) -> bool {
    let rule = match rule.rsplit_once(':') {
        Some((name, number)) if !name.contains(':') => match number.parse::<u16>() {
            Ok(number) if number == port => name,
            _ => return false,
        },
        _ => rule,
    };
    let suffix = rule.trim_start_matches('*').trim_start_matches('.');
    rule == "*"
        || (!suffix.is_empty()
            && (host == suffix || host.strip_suffix(suffix).is_some_and(|before| before.ends_with('.'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn a_proxy_is_an_http_url() {
        let proxy: Proxy = "http://me:p%40ss@proxy.example:3128/".parse().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert_eq!(proxy.authorization.as_deref(), Some("Basic bWU6cEBzcw=="));
        assert!(!format!("{proxy:?}").contains("bWU6"));
        assert_eq!("proxy".parse::<Proxy>().unwrap().port, 80);
        assert_eq!("http://[::1]:3128".parse::<Proxy>().unwrap().host, "::1");
        assert_eq!("socks5://x".parse::<Proxy>(), Err(InvalidProxy::Scheme));
        for bad in ["", "http://", "http://x:0", "http://x:y", "http://a b"] {
            assert_eq!(bad.parse::<Proxy>(), Err(InvalidProxy::Address), "{bad}");
        }
    }

    #[test]
    fn no_proxy_takes_hosts_out() {
        let rules = |no_proxy: &str| {
            ProxyRules::from_environment(|name| match name {
                "https_proxy" => Some("http://proxy:3128".into()),
                "NO_PROXY" => Some(no_proxy.into()),
                _ => None,
            })
            .unwrap()
        };
        let through = |no_proxy: &str, host: &str| rules(no_proxy).for_host(host, 443).is_some();
        assert!(through("", "connect.eu.example.com"));
        assert!(through("example.org,ample.com", "connect.eu.example.com"));
        for covered in ["example.com", ".example.com", "*.example.com", "*", "x, eu.example.com:443"] {
            assert!(!through(covered, "connect.eu.example.com"), "{covered}");
        }
        assert!(through("eu.example.com:8443", "connect.eu.example.com"));
        assert!(!through("", "connect.adit.localhost"));
    }

    #[tokio::test]
    async fn the_proxy_hands_over_the_connection_or_says_why_not() {
        for (answer, expected) in [
            ("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\nrelay", None),
            ("HTTP/1.1 407 Authenticate\r\n\r\n", Some("the proxy refused with status 407")),
            ("SSH-2.0-x\r\n\r\n", Some("the proxy does not speak HTTP")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let proxy: Proxy = format!("http://u:p@{address}").parse().unwrap();
            let served = tokio::spawn(async move {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut request = vec![];
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(tcp.read_u8().await.unwrap());
                }
                tcp.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8(request).unwrap()
            });
            let tcp = TcpStream::connect(address).await.unwrap();
            let opened = proxy.open(tcp, "connect.eu.example.com", 443).await;
            match expected {
                Some(error) => assert_eq!(opened.unwrap_err().to_string(), error),
                None => {
                    let mut rest = [0; 5];
                    opened.unwrap().read_exact(&mut rest).await.unwrap();
                    assert_eq!(&rest, b"relay");
                }
            }
            let request = served.await.unwrap();
            assert!(request.starts_with("CONNECT connect.eu.example.com:443 HTTP/1.1\r\nHost: connect.eu"));
            assert!(request.contains("Proxy-Authorization: Basic dTpw\r\n"));
        }
    }
}
