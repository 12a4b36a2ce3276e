//! Why a dial brought no answer.

use super::{hello::HelloError, proxy::ProxyError};
use crate::{address::RelayAddress, problem::Problem};
use adit_protocol::CONNECT_LABEL;
use std::{io, path::PathBuf, time::Duration};

/// Time limit of TCP, over all addresses and through a proxy.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Time limit of TLS and hello together; a relay ends a connection whose hello takes longer than 5 s.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there was no answer to a hello.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{host} cannot be resolved")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("{host} cannot be connected to")]
    Connect { host: String, source: io::Error },
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout,
    #[error("the proxy failed")]
    Proxy(#[source] ProxyError),
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    /// The relay's certificate was not accepted.
    #[error("the relay's certificate was not accepted")]
    Certificate {
        error: rustls::CertificateError,
        issuer: Option<String>,
        /// The file of authorities that was given.
        ca: Option<PathBuf>,
    },
    /// It has no certificate for the name (RFC 6066 section 3).
    #[error("the relay refused this name")]
    NameRefused,
    #[error("what answers is not a relay")]
    NotARelay,
    #[error("the hello failed")]
    Hello(#[source] HelloError),
    #[error("no answer to the hello within {} s", HELLO_TIMEOUT.as_secs())]
    HelloTimeout,
    /// No token.
    #[error("there is nothing to show")]
    Token(#[source] Box<Problem>),
}

impl DialError {
    /// The innermost reason, in words for a person: `network unreachable`.
    pub(crate) fn reason(&self) -> String {
        let mut text = match self {
            Self::Token(problem) => problem.message.clone(),
            other => other.to_string(),
        };
        let mut source = std::error::Error::source(self);
        while let Some(error) = source.filter(|_| !matches!(self, Self::Token(_))) {
            text = error.to_string();
            source = error.source();
        }
        // The system's own words end with a number that says nothing to a person.
        text.find(" (os error").map_or_else(|| text.clone(), |at| text[..at].to_lowercase())
    }

    /// The problem to end with if the relay was never reached.
    pub(crate) fn problem(&self, relay: &RelayAddress) -> Problem {
        let host =
            if relay.port() == 443 { relay.host() } else { format!("{}:{}", relay.host(), relay.port()) };
        match self {
            // Another installation's authority may have the same name: then the signature is wrong instead.
            Self::Certificate {
                error: rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
                issuer,
                ca,
            } => {
                let mut problem = Problem::new("ca_unknown").with("host", relay.domain());
                if let Some(issuer) = issuer {
                    problem = problem.with("issuer", issuer.as_str());
                }
                if let Some(ca) = ca {
                    problem = problem.with("ca", ca.display().to_string());
                }
                problem
            }
            Self::NameRefused => {
                let problem = Problem::new("certificate_invalid")
                    .with("host", relay.domain())
                    .with("message", self.to_string());
                match relay.domain().strip_prefix(CONNECT_LABEL).and_then(|rest| rest.strip_prefix('.')) {
                    Some(shorter) => problem.with("shorter", shorter),
                    None => problem,
                }
            }
            Self::Certificate { error, .. } => Problem::new("certificate_invalid")
                .with("host", relay.domain())
                .with("message", error.to_string()),
            Self::NotARelay | Self::Hello(HelloError::Frame(_)) => {
                Problem::new("not_a_relay").with("host", host)
            }
            Self::Token(problem) => problem.as_ref().clone(),
            _ => Problem::new("relay_unreachable").with("host", host).with("message", self.reason()),
        }
    }

    /// Whether the client gives up at once if the relay was never reached.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Certificate { .. }
                | Self::NameRefused
                | Self::NotARelay
                | Self::Token(_)
                | Self::Hello(HelloError::Frame(_))
        )
    }
}
