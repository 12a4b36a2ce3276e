//! The DNS of challenges: lookups, and signed updates of TXT records (RFC 2136 with TSIG, RFC 8945).
//!
//! Messages and signatures are those of hickory-proto; sockets and retries are here.

mod resolvers;
mod server;
mod tsig;

pub use resolvers::Resolvers;
pub use server::Server;
pub use tsig::{InvalidTsigKey, TsigKey};

use hickory_proto::{op::ResponseCode, rr::Name};
use std::io;

/// The maximum number of CNAMEs in a row.
const MAX_ALIASES: usize = 8;

/// A lookup or an update that failed.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The server cannot be reached.
    #[error("cannot reach the name server {server}")]
    Unreachable {
        /// The server.
        server: String,
        /// The reason.
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("the name server {0} did not answer")]
    Timeout(String),
    /// The server's answer is not a DNS message.
    #[error("the name server {0} did not answer with a DNS message")]
    Malformed(String),
    /// The server answered with an error.
    #[error("the name server {server} answered {} for {name}", code_name(*code))]
    Code {
        /// The server.
        server: String,
        /// The error.
        code: ResponseCode,
        /// The name that was looked up or updated.
        name: String,
    },
    /// The answer to an update is not signed with the key, so it may be somebody else's.
    #[error("the answer of the name server {server} is not signed with the TSIG key")]
    Unverified {
        /// The server.
        server: String,
        /// The reason.
        source: hickory_proto::ProtoError,
    },
    /// CNAMEs lead round in a circle, or too far.
    #[error("{0} has more than {MAX_ALIASES} CNAMEs in a row")]
    Aliases(String),
    /// The server serves no zone of the name.
    #[error("the name server {server} serves no zone with {name}")]
    NoZone {
        /// The server.
        server: String,
        /// The name.
        name: String,
    },
    /// The name is not a domain name (RFC 1035 section 2.3.4).
    #[error("{0:?} is not a domain name")]
    Name(String),
}

impl DnsError {
    /// Whether the name does not exist (NXDOMAIN), as opposed to an answer that is not known.
    pub fn is_nonexistent(&self) -> bool {
        matches!(self, Self::Code { code: ResponseCode::NXDomain, .. })
    }
}

/// The name of an error in the RFCs: `NXDOMAIN`.
fn code_name(code: ResponseCode) -> String {
    format!("{code:?}").to_ascii_uppercase()
}

/// A domain name in lower case, with or without its final dot.
fn parse_name(text: &str) -> Option<Name> {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let lower: Vec<String> = labels.map(str::to_ascii_lowercase).collect();
    if lower.iter().any(String::is_empty) {
        return None;
    }
    Name::from_labels(lower.iter().map(String::as_bytes)).ok()
}

/// A name as text, in lower case and without its final dot.
fn name_text(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_and_within_their_limits() {
        for name in ["_acme-challenge.Example.com", "_acme-challenge.example.com."] {
            assert_eq!(
                parse_name(name).map(|name| name_text(&name)).as_deref(),
                Some("_acme-challenge.example.com")
            );
        }
        let long = format!("{}.example.com", "a".repeat(64));
        let deep = "a.".repeat(130);
        for bad in ["", ".", "a..b", &long, &deep] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn errors_have_the_names_of_the_rfcs() {
        for (code, name) in
            [(3, "NXDOMAIN"), (2, "SERVFAIL"), (5, "REFUSED"), (9, "NOTAUTH"), (10, "NOTZONE")]
        {
            assert_eq!(code_name(ResponseCode::from(0, code)), name);
        }
    }
}
