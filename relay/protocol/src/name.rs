//! Names of tunnels: the first label of `<name>.<region domain>`.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A tunnel's name: one DNS label (RFC 1123 section 2.1) in lower case that is not reserved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why no client can have a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidName {
    /// Not one DNS label.
    #[error("a name has 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends")]
    Label,
    /// A label with `--` in third place: punycode, which can look like another name (RFC 5890 section 2.3.1).
    #[error("a name must not have '--' as its third and fourth characters")]
    Encoded,
    /// Reserved for the provider, or a name that software trusts.
    #[error("this name is reserved")]
    Reserved,
}

/// Labels to which software or people give a meaning, beside `_*` and `adit-*`.
const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "autoconfig",
    "autodiscover",
    "connect",
    "ftp",
    "hostmaster",
    "imap",
    "isatap",
    "localhost",
    "mail",
    "mta-sts",
    "ns",
    "ns1",
    "ns2",
    "pop",
    "postmaster",
    "root",
    "smtp",
    "ssladmin",
    "sysadmin",
    "webmaster",
    "wpad",
    "www",
];

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bytes = text.as_bytes();
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = |b: Option<&u8>| b.is_some_and(|b| alphanumeric(*b));
        let label = (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
            && ends(bytes.first())
            && ends(bytes.last());
        if !label {
            return Err(InvalidName::Label);
        }
        if bytes.get(2..4) == Some(b"--") {
            return Err(InvalidName::Encoded);
        }
        if RESERVED.contains(&text) || text.starts_with("adit-") {
            return Err(InvalidName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_label() {
        for good in ["shop", "a", "7", "a-b", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a_b", "_acme", "a.b", "ä", "a b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(InvalidName::Label), "{bad:?}");
        }
        assert_eq!("xn--bcher-kva".parse::<Name>(), Err(InvalidName::Encoded));
        for reserved in ["connect", "www", "wpad", "mta-sts", "adit-probe-1"] {
            assert_eq!(reserved.parse::<Name>(), Err(InvalidName::Reserved), "{reserved}");
        }
    }
}
