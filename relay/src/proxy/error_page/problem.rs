//! Failures for programs: problem+json and gRPC.

use super::{Failure, text};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use std::fmt::Write as _;

/// A problem (RFC 9457) as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem<'a> {
    /// `urn:adit:error:<code>`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: &'a str,
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Problem<'_> {
    /// The media type.
    pub(crate) const TYPE: &'static str = "application/problem+json";

    /// The problem as a body.
    pub(crate) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings and numbers").into()
    }
}

pub(super) fn response(failure: &Failure<'_>) -> Response<Bytes> {
    let words = text::of(failure.code);
    let status = failure.status();
    let problem = Problem {
        kind: format!("urn:adit:error:{}", failure.code),
        title: words.title,
        status: status.as_u16(),
        detail: detail(failure),
        code: failure.code.as_str(),
        request_id: Some(failure.request_id.to_string()),
        retry_after: failure.retry_after(),
    };
    let mut response = Response::new(problem.to_bytes());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::TYPE));
    response
}

/// A response of headers alone: HTTP's status is 200, gRPC's own status says what happened.
pub(super) fn grpc(failure: &Failure<'_>, kind: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(HeaderName::from_static("grpc-status"), u16::from(text::of(failure.code).grpc).into());
    let message = percent_encoded(&format!("{}: {}", failure.code, detail(failure)));
    let message = HeaderValue::from_maybe_shared(message.into_bytes()).expect("only printable ASCII");
    headers.insert(HeaderName::from_static("grpc-message"), message);
    response
}

fn detail(failure: &Failure<'_>) -> String {
    match failure.bad {
        Some(bad) => format!("The request is refused: {}.", bad.why),
        None => text::of(failure.code).detail.to_owned(),
    }
}

/// As gRPC wants it: everything but printable ASCII, and `%` itself, percent-encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
