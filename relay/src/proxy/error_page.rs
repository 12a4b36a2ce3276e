//! What a consumer sees instead of an answer: one place that maps a [`Code`] to a status and a body.
//!
//! A browser that opens a page gets HTML, every other program `application/problem+json` (RFC 9457), and gRPC a
//! response of headers alone. None of them says anything of the relay's inside.

mod html;
mod problem;
mod text;

use super::headers::BadRequest;
use crate::ops::access_log::RequestId;
use adit_protocol::{Code, stream};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

pub use text::status;

/// Who asked and how, kept from a request's head until its answer fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    audience: Audience,
    method: AskedMethod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Browser,
    Program,
    Grpc,
    GrpcWeb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskedMethod {
    Get,
    Head,
    Other,
}

impl Requester {
    /// A browser says what it loads (`Sec-Fetch-Dest`); where it does not, `Accept` has to do.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let method = match *method {
            Method::GET => AskedMethod::Get,
            Method::HEAD => AskedMethod::Head,
            _ => AskedMethod::Other,
        };
        Self { audience: Audience::of(headers), method }
    }

    /// Whoever asked without a head that could be read.
    pub fn unknown() -> Self {
        Self { audience: Audience::Program, method: AskedMethod::Other }
    }
}

impl Audience {
    fn of(headers: &HeaderMap) -> Self {
        if let Some(kind) = headers.get(header::CONTENT_TYPE)
            && let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc")
        {
            match rest.first() {
                None | Some(b'+' | b';') => return Self::Grpc,
                _ if rest.starts_with(b"-web") => return Self::GrpcWeb,
                _ => {}
            }
        }
        static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
        let page = match headers.get(&SEC_FETCH_DEST) {
            Some(dest) => matches!(dest.as_bytes(), b"document" | b"iframe" | b"frame"),
            None => headers.get_all(header::ACCEPT).iter().any(|accept| {
                let kind = |range: &[u8]| range.trim_ascii_start().get(..9).map(<[u8]>::to_ascii_lowercase);
                accept
                    .as_bytes()
                    .split(|b| *b == b',')
                    .any(|range| kind(range).as_deref() == Some(b"text/html"))
            }),
        };
        if page { Self::Browser } else { Self::Program }
    }
}

/// One failed request.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The code of the failure.
    pub code: Code,
    /// The host that was asked for, where one could be read.
    pub host: Option<&'a str>,
    /// For logs at both ends.
    pub request_id: RequestId,
    /// When, in microseconds since 1970.
    pub now_us: u64,
    /// The provider's address for abuse: an e-mail address or a URL.
    pub abuse: Option<&'a str>,
    /// Seconds after which another try may succeed; `None` for what the code usually has.
    pub retry_after: Option<u32>,
    /// The status and the rule, where the request itself is at fault.
    pub bad: Option<&'a BadRequest>,
}

impl<'a> Failure<'a> {
    /// A failure with what its code usually says.
    pub fn new(code: Code, host: Option<&'a str>, request_id: RequestId, now_us: u64) -> Self {
        Self { code, host, request_id, now_us, abuse: None, retry_after: None, bad: None }
    }

    fn status(&self) -> StatusCode {
        self.bad.map_or_else(|| status(self.code), |bad| bad.status)
    }

    fn retry_after(&self) -> Option<u32> {
        self.retry_after.or(text::of(self.code).retry_after)
    }

    /// The response. A HEAD gets the headers alone.
    pub fn response(&self, asker: Requester) -> Response<Bytes> {
        let mut response = match asker.audience {
            Audience::Browser => html::response(self, asker.method != AskedMethod::Other),
            Audience::Program => problem::response(self),
            Audience::Grpc => problem::grpc(self, "application/grpc"),
            Audience::GrpcWeb => problem::grpc(self, "application/grpc-web"),
        };
        if asker.method == AskedMethod::Head {
            let length = HeaderValue::from(response.body().len());
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
            *response.body_mut() = Bytes::new();
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(HeaderName::from_static(stream::ERROR), HeaderValue::from_static(self.code.as_str()));
        headers.insert(HeaderName::from_static(stream::REQUEST_ID), self.request_id.to_value());
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests;
