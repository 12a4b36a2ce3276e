//! Host names as consumers write them, made comparable.

use super::BadRequest;
use std::fmt;

/// The most bytes of a host name (RFC 1035 section 2.3.4, without the final dot).
const MAX_BYTES: usize = 253;

/// A host in the one form in which it is looked up: lower case, without a final dot, without a port. An IPv6 literal
/// keeps its brackets. Punycode stays as it is: names are compared as they travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HostName {
    bytes: [u8; MAX_BYTES],
    len: u8,
}

impl HostName {
    /// The host as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("only ASCII is ever stored")
    }

    fn lower(host: &[u8]) -> Self {
        let mut name = Self { bytes: [0; MAX_BYTES], len: host.len() as u8 };
        for (to, from) in name.bytes.iter_mut().zip(host) {
            *to = from.to_ascii_lowercase();
        }
        name
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Takes an authority apart: `shop.example`, `SHOP.example.:443`, `[::1]:8443`. The port is `None` when there is none.
///
/// # Errors
/// A userinfo (`user@`), an empty, overlong or malformed host, and a port that is not 0 to 65535.
pub fn parse_authority(authority: &[u8]) -> Result<(HostName, Option<u16>), BadRequest> {
    if authority.is_empty() {
        return Err(BadRequest::syntax("the Host is empty"));
    }
    if authority.contains(&b'@') {
        return Err(BadRequest::syntax("the Host must not carry a user name"));
    }
    if authority[0] == b'[' {
        return parse_literal(authority);
    }
    let (host, port) = match authority.iter().position(|b| *b == b':') {
        Some(colon) => (&authority[..colon], parse_port(&authority[colon + 1..])?),
        None => (authority, None),
    };
    let host = host.strip_suffix(b".").unwrap_or(host);
    let mut before = b'.';
    for byte in host {
        let fits = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !fits || (*byte == b'.' && before == b'.') {
            return Err(BadRequest::syntax("the Host is not a DNS name or an IP address"));
        }
        before = *byte;
    }
    if host.is_empty() || host.len() > MAX_BYTES || before == b'.' {
        return Err(BadRequest::syntax("the Host is not a DNS name or an IP address"));
    }
    Ok((HostName::lower(host), port))
}

fn parse_literal(authority: &[u8]) -> Result<(HostName, Option<u16>), BadRequest> {
    let bad = || BadRequest::syntax("the Host is not an IPv6 address in brackets");
    let close = authority.iter().position(|b| *b == b']').ok_or_else(bad)?;
    let inside = std::str::from_utf8(&authority[1..close]).map_err(|_| bad())?;
    inside.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
    let port = match &authority[close + 1..] {
        [] => None,
        [b':', port @ ..] => parse_port(port)?,
        _ => return Err(bad()),
    };
    Ok((HostName::lower(&authority[..=close]), port))
}

fn parse_port(digits: &[u8]) -> Result<Option<u16>, BadRequest> {
    let bad = || BadRequest::syntax("the port in the Host is not a number from 0 to 65535");
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let port = digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'));
    u16::try_from(port).map(Some).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> (String, Option<u16>) {
        let (host, port) = parse_authority(text.as_bytes()).unwrap();
        (host.as_str().to_owned(), port)
    }

    #[test]
    fn case_final_dot_and_port_do_not_make_another_host() {
        assert_eq!(host("shop.eu.example.com"), ("shop.eu.example.com".into(), None));
        assert_eq!(host("SHOP.eu.Example.com.:8443"), ("shop.eu.example.com".into(), Some(8443)));
        assert_eq!(host("shop.example:"), ("shop.example".into(), None));
        assert_eq!(host("xn--bcher-kva.example"), ("xn--bcher-kva.example".into(), None));
        assert_eq!(host("192.0.2.1:80"), ("192.0.2.1".into(), Some(80)));
        assert_eq!(host("[2001:DB8::1]:8443"), ("[2001:db8::1]".into(), Some(8443)));
        assert_eq!(host(&"a".repeat(253)).0.len(), 253);
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        let long = "a".repeat(254);
        for bad in [
            "",
            ".",
            "..",
            ":80",
            "a..b",
            "a.b..",
            ".a",
            "user@shop.example",
            "user:pass@shop.example",
            "a b",
            "a/b",
            "a,b",
            "a\0b",
            "a%41",
            "bücher.example",
            "shop:65536",
            "shop:-1",
            "shop:+80",
            "shop:8_0",
            "shop:123456",
            "shop:80:80",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[1.2.3.4]",
            "::1",
            "[fe80::1%25eth0]",
            &long,
        ] {
            let error = parse_authority(bad.as_bytes()).unwrap_err();
            assert_eq!(error.status, 400, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_host_that_is_read_reads_as_itself_again(bytes in proptest::collection::vec(0_u8..=255, 0..40)) {
            if let Ok((host, _)) = parse_authority(&bytes) {
                let again = parse_authority(host.as_str().as_bytes()).unwrap();
                proptest::prop_assert_eq!(again, (host, None));
            }
        }
    }
}
