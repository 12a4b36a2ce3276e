//! The headers that Adit sets on streams, and the meaning of a stream's end.
//!
//! The relay opens every stream. The first is the control stream: `POST /` with [`CONTROL`]; its request body and
//! response body carry the lines of [`crate::control`]. On every other stream [`TUNNEL`] names the tunnel:
//! - a request: method, scheme, authority and path as the consumer sent them;
//! - an Upgrade: extended CONNECT (RFC 8441 section 4) with the consumer's Upgrade token as `:protocol`; a final
//!   status other than 2xx is the service's refusal, 200 stands for its 101, and a 2xx with [`UPGRADE_IGNORED`] is an
//!   ordinary answer of a service that stays with HTTP;
//! - TCP: CONNECT (RFC 9113 section 8.5) with [`CONSUMER`]; 200 once the service has accepted.
//!
//! END_STREAM is the half-close of one direction. RST_STREAM is a reset, never an end: NO_ERROR and CANCEL mean that the other
//! side has lost interest; REFUSED_STREAM, that the request was not processed and may be sent again.

/// Marks the control stream; its value is `1`.
pub const CONTROL: &str = "adit-control";
/// The id of the tunnel that a stream belongs to.
pub const TUNNEL: &str = "adit-tunnel";
/// `ip:port` of the consumer, on CONNECT streams.
pub const CONSUMER: &str = "adit-consumer";
/// A [`crate::Code`]: on a response, it was made by the client or the relay, not by the service.
pub const ERROR: &str = "adit-error";
/// The id of the request, for logs at both ends.
pub const REQUEST_ID: &str = "adit-request-id";
/// On a 2xx answer to an Upgrade: the service has answered the request and has not switched protocols.
pub const UPGRADE_IGNORED: &str = "adit-upgrade-ignored";
/// Between relays: the endpoint that the stream is for. A request that carries it is never forwarded again.
pub const PEER_ENDPOINT: &str = "adit-peer-endpoint";
/// The prefix of Adit's headers: they are removed from the messages of consumers and services.
pub const PREFIX: &str = "adit-";
