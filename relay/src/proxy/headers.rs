//! Hop-by-hop and forwarding headers: pure functions that make a consumer's request ready for a stream, and a
//! service's response ready for the consumer.
//!
//! They run once for each request, so they walk the headers once, compare without copying and allocate only for what
//! is new: the values that say who the consumer is are made once a connection ([`Downstream`]), the target once for
//! each Host that a connection names ([`Target`]).
//!
//! `Via` is neither written nor taken off: services switch compression off when they see it, and what proxies before
//! the consumer wrote harms nobody.

mod bad_request;
mod check;
mod downstream;
mod forward;
mod host;
mod names;
mod response;

pub use bad_request::BadRequest;
pub use check::{
    CheckedRequest, Intent, MAX_FIELDS, MAX_HEADER_BYTES, MAX_TARGET_BYTES, check, check_length,
    check_trailers,
};
pub use downstream::{Downstream, Target};
pub use forward::forward;
pub use host::{HostName, parse_authority};
pub use response::{Answer, BadResponse, Role, check_response, clean_trailers};
