//! The error of a request that breaks a rule of HTTP.

use adit_protocol::Code;
use http::StatusCode;

/// Why a request is refused before it is routed. The connection may stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct BadRequest {
    /// 400, 413, 414, 417, 421, 431 or 501.
    pub status: StatusCode,
    /// What `adit-error` says.
    pub code: Code,
    /// The rule that the request breaks, for people. It repeats nothing that the consumer sent.
    pub why: &'static str,
}

impl BadRequest {
    pub(super) fn syntax(why: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: Code::BadRequest, why }
    }

    pub(super) fn with(status: StatusCode, why: &'static str) -> Self {
        Self { status, code: Code::BadRequest, why }
    }

    pub(super) fn too_large(why: &'static str) -> Self {
        Self { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, code: Code::HeadersTooLarge, why }
    }

    /// The body is not framed as HTTP says.
    pub fn body() -> Self {
        Self::syntax("the request's body breaks off, or is not framed as HTTP says")
    }

    /// The body has more bytes than the account may send.
    pub fn too_long() -> Self {
        let why = "the body is longer than this tunnel takes";
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: Code::BodyTooLarge, why }
    }

    /// The connection's TLS server name and the Host do not agree.
    pub fn misdirected() -> Self {
        let why = "the Host is not the name that this TLS connection was made for";
        Self { status: StatusCode::MISDIRECTED_REQUEST, code: Code::Misdirected, why }
    }
}
