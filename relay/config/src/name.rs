//! Domain names.

use crate::Invalid;
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// The name of the format in schemas.
pub const FORMAT: &str = "dns-name";

/// A domain under which tunnels get their names: lower case, no final dot, at most 189 bytes, so that a name of
/// 63 bytes fits before it (RFC 1035 section 2.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsName(String);

impl DnsName {
    /// The most bytes that a domain may have.
    pub const MAX_BYTES: usize = 253 - 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_label(label: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<&u8>| b.is_some_and(|b| plain(*b));
    let bytes = label.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| plain(*b) || *b == b'-')
}

impl FromStr for DnsName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let lower = text.to_ascii_lowercase();
        let bare = lower.strip_suffix('.').unwrap_or(&lower);
        let valid = bare.len() <= Self::MAX_BYTES && bare.split('.').all(check_label);
        let address = bare.parse::<Ipv4Addr>().is_ok() || bare.rsplit('.').next().is_some_and(all_digits);
        if valid && !address {
            return if bare == text {
                Ok(Self(lower))
            } else {
                Err(Invalid::new(format!("is not in normal form: write {bare}")))
            };
        }
        Err(Invalid::new(match () {
            () if bare.len() > Self::MAX_BYTES => {
                "is too long: a domain has at most 189 bytes, so that a name fits before it"
            }
            () if address || text.contains("::") || text.starts_with('[') => "is an IP address, not a domain",
            () if text.contains("://") => "is a URL, not a domain, which is written like tunnels.example.com",
            () if text.starts_with("*.") => "has a wildcard: write the domain without it",
            () if !text.is_ascii() => "is not in ASCII: write the domain in its xn-- form",
            () => "is not a domain, which has labels of a-z, 0-9 and '-', like tunnels.example.com",
        }))
    }
}

fn all_digits(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit())
}

impl TryFrom<String> for DnsName {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<DnsName> for String {
    fn from(name: DnsName) -> Self {
        name.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::text::inline_schema!(DnsName, "DnsName", { "type": "string", "format": FORMAT });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_lower_case_names() {
        for good in ["adit.localhost", "localhost", "eu.example.com", "xn--bcher-kva.example", "1a.example"] {
            assert_eq!(good.parse::<DnsName>().unwrap().as_str(), good);
        }
        let long = format!("{}.{}.{}.example", "a".repeat(63), "b".repeat(63), "c".repeat(63));
        for (bad, rule) in [
            ("", "is not a domain"),
            ("a..b", "is not a domain"),
            ("a_b.example", "is not a domain"),
            ("-a.example", "is not a domain"),
            ("a b", "is not a domain"),
            ("Eu.Example.com", "is not in normal form: write eu.example.com"),
            ("eu.example.com.", "is not in normal form: write eu.example.com"),
            ("*.example.com", "has a wildcard"),
            ("https://eu.example.com", "is a URL"),
            ("10.0.0.1", "is an IP address"),
            ("1.2.3.400", "is an IP address"),
            ("[::1]", "is an IP address"),
            ("bücher.example", "is not in ASCII"),
            (&long, "is too long"),
        ] {
            let found = bad.parse::<DnsName>().unwrap_err().to_string();
            assert!(found.starts_with(rule), "{bad:?} {found}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = text.parse::<DnsName>();
        }
    }
}
