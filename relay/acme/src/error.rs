//! Errors of issuing.

use crate::{
    certificate::InvalidCertificate,
    client::{CallError, ClientError},
    decide::FailureCause,
    dns::DnsError,
    seal::SealError,
};
use adit_store::StoreError;
use instant_acme::{Error as AcmeError, Problem};

/// The reason of outages.
const UNREACHABLE: &str = "CAUnreachable";
/// The prefix of the CA's own error types.
const URN: &str = "urn:ietf:params:acme:error:";

/// A certificate that could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The CA refused.
    #[error("{0}")]
    Ca(CaRefusal),
    /// The CA could not be called.
    #[error("the CA could not be called")]
    Call(#[source] CallError),
    /// The CA broke the protocol.
    #[error("the CA broke the ACME protocol")]
    Protocol(#[source] AcmeError),
    /// The CA cannot be called with these settings.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The CA could not validate a name.
    #[error("{name}: {refused}")]
    Validation {
        /// The name.
        name: String,
        /// What the CA said.
        refused: CaRefusal,
    },
    /// The CA does not offer the challenge type.
    #[error("{name}: the CA offers no {kind}, only {offered}")]
    NoChallenge {
        /// The name.
        name: String,
        /// The type that was configured.
        kind: &'static str,
        /// The types that the CA offers.
        offered: String,
    },
    /// A relay has not confirmed that it answers the challenges.
    #[error("{0} does not confirm that it answers the challenges; the CA was not asked")]
    Unconfirmed(String),
    /// The self-check did not find the answer.
    #[error("{name}: {found}; the CA was not asked")]
    Unanswered {
        /// The name.
        name: String,
        /// The thing that it found instead.
        found: String,
    },
    /// A TXT record could not be set.
    #[error("{name}: cannot set the TXT record")]
    Dns {
        /// The name.
        name: String,
        /// The cause.
        source: DnsError,
    },
    /// The service that sets TXT records refused.
    #[error("{name}: {service} answered {answer}")]
    HttpReq {
        /// The name.
        name: String,
        /// The service.
        service: String,
        /// What it said.
        answer: String,
    },
    /// It took too long.
    #[error("{0} took longer than it may")]
    Timeout(&'static str),
    /// The certificate that the CA issued cannot be served.
    #[error("the CA issued a certificate that cannot be served")]
    InvalidCertificate(#[from] InvalidCertificate),
    /// A key could not be made.
    #[error("cannot make a private key")]
    Key(#[from] rcgen::Error),
    /// A key could not be sealed or opened.
    #[error("cannot seal or open a key")]
    Seal(#[from] SealError),
    /// The store does not answer.
    #[error("the store does not answer")]
    Store(#[from] StoreError),
    /// The fence is lost: another process issues the certificate.
    #[error("another process issues this certificate")]
    FenceLost,
}

/// The cause of an error that was stored as its reason and message.
pub(crate) fn cause(problem: &str) -> FailureCause {
    if problem.starts_with(UNREACHABLE) { FailureCause::Outage } else { FailureCause::Refusal }
}

/// A problem document of the CA (RFC 7807).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaRefusal {
    /// The type of the error without its prefix, like `caa` or `rateLimited`.
    pub kind: String,
    /// The details of the problem and its subproblems.
    pub text: String,
}

impl std::fmt::Display for CaRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

impl From<&Problem> for CaRefusal {
    fn from(problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or("unknown");
        let mut text = problem.detail.clone().unwrap_or_default();
        for sub in &problem.subproblems {
            let detail = sub.detail.as_deref().unwrap_or_default();
            text.push_str(&format!("; {detail}"));
        }
        Self {
            kind: kind.strip_prefix(URN).unwrap_or(kind).to_owned(),
            text: text.chars().take(2000).collect(),
        }
    }
}

impl From<AcmeError> for IssueError {
    fn from(error: AcmeError) -> Self {
        match error {
            AcmeError::Api(problem) => Self::Ca((&problem).into()),
            AcmeError::Other(other) => match other.downcast::<CallError>() {
                Ok(call) => Self::Call(*call),
                Err(other) => Self::Protocol(AcmeError::Other(other)),
            },
            other => Self::Protocol(other),
        }
    }
}

impl IssueError {
    /// The reason for metrics and conditions, in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Ca(refused) => match refused.kind.as_str() {
                "rateLimited" => "RateLimited",
                "caa" => "CAAForbids",
                "externalAccountRequired" => "ExternalAccountRequired",
                "rejectedIdentifier" | "unsupportedIdentifier" => "NameRejected",
                // Its own fault, by its own word.
                "serverInternal" => UNREACHABLE,
                _ => "RefusedByCA",
            },
            Self::Validation { refused, .. } if refused.kind == "caa" => "CAAForbids",
            Self::Validation { .. } => "ValidationFailed",
            Self::Call(_) | Self::Timeout(_) => UNREACHABLE,
            Self::Protocol(_) => "CAProtocolError",
            Self::Client(_) => "BadCABundle",
            Self::NoChallenge { .. } => "ChallengeNotOffered",
            Self::Unconfirmed(_) => "RelaysUnconfirmed",
            Self::Unanswered { .. } => "SelfCheckFailed",
            Self::Dns { .. } | Self::HttpReq { .. } => "DNSUpdateFailed",
            Self::InvalidCertificate(_) => "CertificateUnfit",
            Self::Key(_) | Self::Seal(_) => "KeyFailed",
            Self::Store(_) => "StoreUnreachable",
            Self::FenceLost => "IssuedElsewhere",
        }
    }

    /// Whether the error is a refusal or an outage.
    pub(crate) fn cause(&self) -> FailureCause {
        cause(self.reason())
    }

    /// Whether it counts as a failed attempt. Errors of the store and a lost fence do not.
    pub fn is_attempt(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::FenceLost)
    }

    /// Whether the CA does not know the account or the order any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        match self {
            Self::Ca(refused) => {
                refused.kind == "accountDoesNotExist"
                    || refused.kind == "malformed"
                        && ["not found", "expired", "No order", "Unable to find"]
                            .iter()
                            .any(|words| refused.text.contains(words))
            }
            Self::Call(CallError::Status { status: 404, .. }) => true,
            _ => false,
        }
    }

    /// The error and its sources in one line.
    pub fn error_chain(&self) -> String {
        let mut words = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            words.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_of_an_error_is_printed_once() {
        let connect = CallError::Connect("ca.example:443".to_owned(), std::io::Error::other("no route"));
        assert_eq!(
            IssueError::Call(connect).error_chain(),
            "the CA could not be called: cannot connect to ca.example:443: no route"
        );
    }
}
