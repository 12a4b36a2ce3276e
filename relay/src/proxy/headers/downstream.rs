//! What the relay knows about a consumer's connection, as header values.

use super::{BadRequest, parse_authority};
use http::{HeaderValue, uri};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

/// One connection of a consumer: what its requests' forwarding headers say. It is made once a connection; its values
/// are shared by all requests.
#[derive(Debug)]
pub struct Downstream {
    pub(super) scheme: uri::Scheme,
    pub(super) address_value: HeaderValue,
    pub(super) scheme_value: HeaderValue,
    pub(super) port_value: HeaderValue,
    peer: SocketAddr,
    last: Mutex<Option<Arc<Target>>>,
}

/// The target of a request, as it was sent and as it is looked up.
#[derive(Debug)]
pub struct Target {
    pub(super) authority: uri::Authority,
    pub(super) host_value: HeaderValue,
    pub(super) forwarded: HeaderValue,
    host: Arc<str>,
    port: Option<u16>,
}

impl Target {
    /// The host: lower case, without a final dot, without a port.
    pub fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The port that the consumer wrote after the host.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The authority as the consumer sent it.
    pub fn authority(&self) -> &uri::Authority {
        &self.authority
    }
}

impl Downstream {
    /// `peer` is the consumer's own address, from the PROXY protocol where a trusted load balancer sent one;
    /// `public_port` the port under which consumers reach this listener.
    pub fn new(peer: SocketAddr, secure: bool, public_port: u16) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let value =
            |text: String| HeaderValue::from_maybe_shared(text.into_bytes()).expect("only digits, '.', ':'");
        let (scheme, scheme_value) = if secure {
            (uri::Scheme::HTTPS, HeaderValue::from_static("https"))
        } else {
            (uri::Scheme::HTTP, HeaderValue::from_static("http"))
        };
        Self {
            scheme,
            address_value: value(peer.ip().to_string()),
            scheme_value,
            port_value: value(public_port.to_string()),
            peer,
            last: Mutex::new(None),
        }
    }

    /// The consumer's address, an IPv4 address in IPv6 form unwrapped.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the consumer came over TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme == uri::Scheme::HTTPS
    }

    /// The target that `authority` names. A connection that names the same one again gets the same value.
    ///
    /// # Errors
    /// As [`parse_authority`].
    pub fn target(&self, authority: &[u8]) -> Result<Arc<Target>, BadRequest> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = last.as_ref().filter(|t| t.authority.as_str().as_bytes() == authority) {
            return Ok(Arc::clone(target));
        }
        let target = Arc::new(self.make_target(authority)?);
        *last = Some(Arc::clone(&target));
        Ok(target)
    }

    fn make_target(&self, bytes: &[u8]) -> Result<Target, BadRequest> {
        let (host, port) = parse_authority(bytes)?;
        let bad = || BadRequest::syntax("the Host is not a DNS name or an IP address");
        let authority = uri::Authority::try_from(bytes).map_err(|_| bad())?;
        let host_value = HeaderValue::from_bytes(bytes).map_err(|_| bad())?;
        let forwarded = forwarded(self.peer.ip(), authority.as_str(), self.is_secure());
        let forwarded = HeaderValue::from_maybe_shared(forwarded.into_bytes()).map_err(|_| bad())?;
        Ok(Target { authority, host_value, forwarded, host: host.as_str().into(), port })
    }
}

/// One element of `Forwarded` (RFC 7239 section 4). What is not a token is quoted: IPv6 addresses, hosts with a port.
fn forwarded(address: IpAddr, host: &str, secure: bool) -> String {
    let proto = if secure { "https" } else { "http" };
    let quote = if host.contains([':', '[']) { "\"" } else { "" };
    match address {
        IpAddr::V4(address) => format!("for={address};host={quote}{host}{quote};proto={proto}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\";host={quote}{host}{quote};proto={proto}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_quotes_what_is_not_a_token() {
        let of = |peer: &str, host: &str| {
            let down = Downstream::new(peer.parse().unwrap(), true, 443);
            down.target(host.as_bytes()).unwrap().forwarded.to_str().unwrap().to_owned()
        };
        assert_eq!(of("192.0.2.9:1", "shop.example"), "for=192.0.2.9;host=shop.example;proto=https");
        assert_eq!(
            of("192.0.2.9:1", "shop.example:8443"),
            "for=192.0.2.9;host=\"shop.example:8443\";proto=https"
        );
        assert_eq!(
            of("[2001:db8::9]:1", "shop.example"),
            "for=\"[2001:db8::9]\";host=shop.example;proto=https"
        );
        assert_eq!(of("[::ffff:192.0.2.9]:1", "a"), "for=192.0.2.9;host=a;proto=https");
    }

    #[test]
    fn the_same_host_again_is_the_same_target() {
        let down = Downstream::new("192.0.2.9:1".parse().unwrap(), false, 80);
        let first = down.target(b"Shop.example:80").unwrap();
        assert_eq!((&**first.host(), first.port()), ("shop.example", Some(80)));
        assert!(Arc::ptr_eq(&first, &down.target(b"Shop.example:80").unwrap()));
        assert!(!Arc::ptr_eq(&first, &down.target(b"shop.example").unwrap()));
        assert!(down.target(b"a@b").is_err());
    }
}
