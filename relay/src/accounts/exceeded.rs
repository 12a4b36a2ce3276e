//! The error of an exceeded limit.

use adit_protocol::Code;
use std::{fmt, time::Duration};

/// A request that would exceed a limit of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    /// The limit's code.
    pub(crate) code: Code,
    /// Its value: a count, or bytes.
    pub(crate) limit: u64,
    /// When it is worth another try. `None`: as soon as the account uses less.
    pub(crate) retry_after: Option<Duration>,
}

impl LimitExceeded {
    pub(super) fn new(code: Code, limit: impl Into<u64>) -> Self {
        Self { code, limit: limit.into(), retry_after: None }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        match self.code {
            Code::TooManySessions => write!(f, "the account has its {limit} sessions already"),
            Code::TooManyTunnels => write!(f, "the account has its {limit} tunnels already"),
            Code::TooManyNames => write!(f, "the account holds its {limit} names already"),
            Code::TooManyStreams => write!(f, "the account has its {limit} streams already"),
            Code::RateLimited => write!(f, "the account has had its {limit} requests of this second"),
            Code::BodyTooLarge => write!(f, "the body has more than {limit} bytes"),
            Code::BufferFull => write!(f, "the account has more than {limit} unread bytes"),
            code => write!(f, "the account has reached a limit of {limit} [{code}]"),
        }
    }
}

impl std::error::Error for LimitExceeded {}
