//! The fields of a line.

use super::RequestId;
use adit_protocol::Code;
use http::{HeaderValue, Version};
use std::{net::SocketAddr, time::Duration};

/// One request, or one TCP connection, that has ended. Bodies, cookies and Authorization are never among its fields,
/// and secrets in the query are masked when it is written.
#[derive(Clone, Copy, Debug)]
pub struct LogEntry<'a> {
    /// When it arrived, in microseconds since 1970.
    pub time_us: u64,
    /// Its id.
    pub request_id: RequestId,
    /// The consumer's address.
    pub consumer: SocketAddr,
    /// The method; `TCP` for a TCP connection.
    pub method: &'a str,
    /// The host, or `tcp:` with the port.
    pub host: &'a str,
    /// Path and query as sent; empty for a TCP connection.
    pub target: &'a str,
    /// The version that the consumer spoke; `None` for a TCP connection.
    pub version: Option<Version>,
    /// Whether the consumer came over TLS.
    pub secure: bool,
    /// The status of the answer; `None` when the consumer was gone before it, and for a TCP connection.
    pub status: Option<u16>,
    /// Body bytes from the consumer.
    pub bytes_in: u64,
    /// Body bytes to the consumer.
    pub bytes_out: u64,
    /// From arrival to the last byte.
    pub duration: Duration,
    /// The tunnel that it went to.
    pub tunnel: Option<&'a str>,
    /// The tunnel's account.
    pub account: Option<&'a str>,
    /// The peer that it was passed to.
    pub peer: Option<&'a str>,
    /// Why the relay answered in place of the service.
    pub code: Option<Code>,
    /// The Referer, query masked likewise.
    pub referer: Option<&'a HeaderValue>,
    /// The User-Agent.
    pub user_agent: Option<&'a HeaderValue>,
}

impl LogEntry<'_> {
    /// The protocol as HTTP/1.1 writes it.
    pub(super) fn protocol(&self) -> &'static str {
        match self.version {
            Some(Version::HTTP_2) => "HTTP/2.0",
            Some(Version::HTTP_10) => "HTTP/1.0",
            Some(_) => "HTTP/1.1",
            None => "TCP",
        }
    }
}
