//! The subject of a complaint, parsed from text.

use crate::Suspended;
use adit_protocol::Account;
use serde::{Deserialize, Serialize};

/// The subject of a complaint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A host name, lower case, without a final dot.
    Host(String),
    /// A public TCP port of a region.
    Port {
        /// The region's domain.
        region: String,
        /// The port.
        port: u16,
    },
    /// An account.
    Account(Account),
}

/// A text that names neither a tunnel nor an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// The URL.
    #[error(
        "{0:?} is not a URL of a tunnel: https://name.eu.example.com/path, or tcp://eu.example.com:20022"
    )]
    Url(String),
    /// The host name.
    #[error("{0:?} is not a hostname: name.eu.example.com")]
    Hostname(String),
    /// The account.
    #[error("{0:?} is not an account: issuer|subject, as in adit|acme-ci")]
    Account(String),
}

impl Subject {
    /// Reads a URL as copied from a browser, or the address of a TCP tunnel.
    ///
    /// # Errors
    /// [`InvalidSubject::Url`].
    pub fn of_url(url: &str) -> Result<Self, InvalidSubject> {
        let unclear = || InvalidSubject::Url(shown(url));
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(unclear)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // What stands before an @ is no host: a favourite of phishers.
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| unclear())?)),
            None => (authority, None),
        };
        let host = host_name(host).ok_or_else(unclear)?;
        match (scheme.to_ascii_lowercase().as_str(), port) {
            ("http" | "https" | "ws" | "wss", _) => Ok(Self::Host(host)),
            ("tcp", Some(port)) if port > 0 => Ok(Self::Port { region: host, port }),
            _ => Err(unclear()),
        }
    }

    /// Reads a host name.
    ///
    /// # Errors
    /// [`InvalidSubject::Hostname`].
    pub fn of_hostname(hostname: &str) -> Result<Self, InvalidSubject> {
        host_name(hostname.trim()).map(Self::Host).ok_or_else(|| InvalidSubject::Hostname(shown(hostname)))
    }

    /// Reads an account: `issuer|subject`.
    ///
    /// # Errors
    /// [`InvalidSubject::Account`].
    pub fn of_account(text: &str) -> Result<Self, InvalidSubject> {
        let account = text
            .split_once('|')
            .map(|(issuer, subject)| Account { issuer: issuer.to_owned(), subject: subject.to_owned() });
        let account = account.filter(Account::is_valid);
        account.map(Self::Account).ok_or_else(|| InvalidSubject::Account(shown(text)))
    }

    /// The subject as text: a host name, `region/tcp:port`, or `issuer|subject`.
    pub fn text(&self) -> String {
        match self {
            Self::Host(host) => host.clone(),
            Self::Port { region, port } => format!("{region}/tcp:{port}"),
            Self::Account(account) => account_text(account),
        }
    }

    /// The key of its reservation; `None` for an account.
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::Host(_) | Self::Port { .. } => Some(self.text()),
            Self::Account(_) => None,
        }
    }

    /// The target of a suspension of exactly this subject.
    pub(super) fn suspended(&self) -> Suspended {
        match self {
            Self::Host(host) => Suspended::Hostname(host.clone()),
            Self::Port { region, port } => Suspended::Port { region: region.clone(), port: *port },
            Self::Account(account) => Suspended::Account(account.clone()),
        }
    }
}

/// An account as complaints write it, with the provider's own issuer.
pub(crate) fn account_text(account: &Account) -> String {
    format!("{}|{}", account.issuer, account.subject)
}

/// A host name as endpoints write it.
fn host_name(text: &str) -> Option<String> {
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    (host.len() <= 253 && host.contains('.') && host.split('.').all(label)).then_some(host)
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_a_browser_reads_it() {
        let host = |host: &str| Ok(Subject::Host(host.to_owned()));
        assert_eq!(
            Subject::of_url("https://Login-Bank.EU.example.com/verify?a=b"),
            host("login-bank.eu.example.com")
        );
        assert_eq!(Subject::of_url("http://a.example.com.:8080"), host("a.example.com"));
        assert_eq!(Subject::of_url(" https://bank.example@evil.example.com/ "), host("evil.example.com"));
        assert_eq!(Subject::of_url("https://a.example.com#@bank.example"), host("a.example.com"));
        let port = Subject::Port { region: "eu.example.com".to_owned(), port: 20022 };
        assert_eq!(Subject::of_url("tcp://eu.example.com:20022"), Ok(port.clone()));
        assert_eq!(port.text(), "eu.example.com/tcp:20022");
        for bad in [
            "",
            "a.example.com",
            "ftp://a.example.com",
            "tcp://a.example.com",
            "tcp://a.example.com:0",
            "https://a_b.example.com",
            "https://",
            "https://localhost",
            "https://a..b",
            "https://a.example.com:99999",
        ] {
            assert_eq!(Subject::of_url(bad), Err(InvalidSubject::Url(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn an_account_has_its_issuer_with_it() {
        let managed = Subject::of_account("adit|acme-ci").unwrap();
        assert_eq!(managed, Subject::Account(Account::managed("acme-ci")));
        assert_eq!(managed.text(), "adit|acme-ci");
        assert!(Subject::of_account("https://id.example|a|b").is_ok());
        for bad in ["", "acme", "|a", "adit|", "adit|a|b", "adit|a\nb"] {
            assert!(Subject::of_account(bad).is_err(), "{bad:?}");
        }
        assert!(Subject::of_hostname("*.example.com").is_err());
        assert!(Subject::of_hostname("a.example.com").is_ok());
    }
}
