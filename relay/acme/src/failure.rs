//! Why there is no certificate yet.

use crate::{
    certificate::Unfit,
    client::{CallError, ClientError},
    decide::Cause,
    dns::DnsError,
    seal::SealError,
};
use adit_store::StoreError;
use instant_acme::{Error as AcmeError, Problem};

/// The reason of all that is an outage.
const UNREACHABLE: &str = "CAUnreachable";
/// The prefix of the CA's own error types.
const URN: &str = "urn:ietf:params:acme:error:";

/// Why there is no certificate yet.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The CA said no, in its own words.
    #[error("{0}")]
    Ca(Refused),
    /// The CA could not be called.
    #[error("the CA could not be called")]
    Call(#[source] CallError),
    /// The CA broke the protocol.
    #[error("the CA's answer makes no sense")]
    Protocol(#[source] AcmeError),
    /// The CA cannot be called with these settings.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The CA did not believe in a name.
    #[error("{name}: {refused}")]
    Validation {
        /// The name.
        name: String,
        /// What the CA said.
        refused: Refused,
    },
    /// The CA offers no such proof.
    #[error("{name}: the CA offers no {kind}, only {offered}")]
    NoChallenge {
        /// The name.
        name: String,
        /// What was asked for.
        kind: &'static str,
        /// What there is.
        offered: String,
    },
    /// Relays have not confirmed that they answer.
    #[error("{0} does not confirm that it answers the challenges; the CA was not asked")]
    Unconfirmed(String),
    /// The relays' answer does not arrive where the CA would look for it.
    #[error("{name}: {found}; the CA was not asked")]
    Unanswered {
        /// The name.
        name: String,
        /// What was found instead.
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
    Slow(&'static str),
    /// What the CA issued cannot be served.
    #[error("the certificate that the CA issued cannot be used")]
    Unfit(#[from] Unfit),
    /// A key could not be made.
    #[error("cannot make a private key")]
    Key(#[from] rcgen::Error),
    /// A key could not be sealed or opened.
    #[error("cannot seal or open a key")]
    Seal(#[from] SealError),
    /// The store is away.
    #[error("the store is away")]
    Store(#[from] StoreError),
    /// Somebody else issues it now.
    #[error("somebody else issues this certificate now")]
    Lost,
}

/// The cause of a failure that was kept as its reason and words.
pub(crate) fn cause(problem: &str) -> Cause {
    if problem.starts_with(UNREACHABLE) { Cause::Outage } else { Cause::Refusal }
}

/// A CA's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The type of the error without its prefix, like `caa` or `rateLimited`.
    pub kind: String,
    /// Everything that the CA said.
    pub text: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

impl From<&Problem> for Refused {
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

impl From<AcmeError> for Failure {
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

impl Failure {
    /// A word for what failed, for metrics and conditions.
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
            Self::Call(_) | Self::Slow(_) => UNREACHABLE,
            Self::Protocol(_) => "CAProtocolError",
            Self::Client(_) => "BadCABundle",
            Self::NoChallenge { .. } => "ChallengeNotOffered",
            Self::Unconfirmed(_) => "RelaysUnconfirmed",
            Self::Unanswered { .. } => "SelfCheckFailed",
            Self::Dns { .. } | Self::HttpReq { .. } => "DNSUpdateFailed",
            Self::Unfit(_) => "CertificateUnfit",
            Self::Key(_) | Self::Seal(_) => "KeyFailed",
            Self::Store(_) => "StoreUnreachable",
            Self::Lost => "IssuedElsewhere",
        }
    }

    /// Whether somebody has said no, or the CA could not answer.
    pub(crate) fn cause(&self) -> Cause {
        cause(self.reason())
    }

    /// Whether it counts as an attempt: what was the store's fault or somebody else's turn does not.
    pub fn is_attempt(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Lost)
    }

    /// Whether the CA has forgotten what it was asked to go on with.
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

    /// All levels of it in one line.
    pub fn words(&self) -> String {
        let mut words = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            words.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        words
    }
}
