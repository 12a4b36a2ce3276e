//! Checks of a consumer's request that hold for every route.

use super::{BadRequest, Downstream, Target, names};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, request::Parts};
use std::sync::Arc;

/// The most header fields of a request. Each Cookie crumb of HTTP/2 counts.
pub const MAX_FIELDS: usize = 100;
/// The most bytes of a request's headers, each field with 32 bytes more (RFC 9113 section 6.5.2).
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The most bytes of path and query.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The purpose of a request's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A request with one response.
    Request,
    /// A connection in another protocol: the token of `Upgrade` (HTTP/1.1) or `:protocol` (HTTP/2).
    Upgrade(HeaderValue),
}

/// A request that passed all checks.
#[derive(Clone, Debug)]
pub struct CheckedRequest {
    /// The target.
    pub target: Arc<Target>,
    /// The intent.
    pub intent: Intent,
}

/// The header fields that the checks need, found in one pass.
#[derive(Default)]
struct RequestFields<'a> {
    bytes: usize,
    host: Option<&'a HeaderValue>,
    hosts: usize,
    length: Option<&'a HeaderValue>,
    transfer: Option<&'a HeaderValue>,
    transfers: usize,
    expect: Option<&'a HeaderValue>,
    upgrade: Option<&'a HeaderValue>,
    connection_upgrade: bool,
    connection_tokens: usize,
    key: Option<&'a HeaderValue>,
    keys: usize,
}

impl RequestFields<'_> {
    fn has_body(&self) -> bool {
        self.transfer.is_some() || self.length.is_some_and(|length| length != "0")
    }
}

/// Checks a request's head, and says whom it is for.
///
/// `%2f` and every other escape but `%00` travel as sent: what they mean is the service's to say. Control characters
/// cannot come this far: `http::Uri` and `http::HeaderValue` hold none.
///
/// # Errors
/// [`BadRequest`] with the status that the consumer gets.
pub fn check(parts: &Parts, downstream: &Downstream) -> Result<CheckedRequest, BadRequest> {
    if parts.headers.len() > MAX_FIELDS {
        return Err(BadRequest::too_large("a request has at most 100 header fields"));
    }
    let seen = walk(&parts.headers);
    check_uri(parts)?;
    if seen.bytes > MAX_HEADER_BYTES {
        return Err(BadRequest::too_large("a request's header fields have at most 16 KiB"));
    }
    let target = find_target(parts, &seen, downstream)?;
    check_framing(parts, &seen)?;
    let intent = find_intent(parts, &seen)?;
    Ok(CheckedRequest { target, intent })
}

fn walk(headers: &HeaderMap) -> RequestFields<'_> {
    let mut seen = RequestFields::default();
    for (name, value) in headers {
        let name = name.as_str();
        seen.bytes += name.len() + value.len() + 32;
        match name {
            "host" => {
                seen.host = Some(value);
                seen.hosts += 1;
            }
            "content-length" => seen.length = Some(value),
            "transfer-encoding" => {
                seen.transfer = Some(value);
                seen.transfers += 1;
            }
            "expect" => seen.expect = Some(value),
            "upgrade" => seen.upgrade = seen.upgrade.or(Some(value)),
            "connection" => {
                for token in value.as_bytes().split(|b| *b == b',') {
                    seen.connection_tokens += 1;
                    seen.connection_upgrade |= token.trim_ascii().eq_ignore_ascii_case(b"upgrade");
                }
            }
            "sec-websocket-key" => {
                seen.key = Some(value);
                seen.keys += 1;
            }
            _ => {}
        }
    }
    seen
}

fn check_uri(parts: &Parts) -> Result<(), BadRequest> {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    if path.len() > MAX_TARGET_BYTES {
        return Err(BadRequest::with(StatusCode::URI_TOO_LONG, "a path with its query has at most 8 KiB"));
    }
    if parts.method == Method::CONNECT {
        return Ok(());
    }
    let asterisk = path == "*" && parts.method == Method::OPTIONS;
    if !asterisk && !path.starts_with('/') {
        return Err(BadRequest::syntax("the request's target is not a path"));
    }
    if parts.uri.path().as_bytes().windows(3).any(|escape| escape == b"%00") {
        return Err(BadRequest::syntax("the path must not have %00"));
    }
    match parts.uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(BadRequest::syntax("the scheme is neither http nor https")),
    }
}

fn find_target(
    parts: &Parts,
    seen: &RequestFields<'_>,
    down: &Downstream,
) -> Result<Arc<Target>, BadRequest> {
    if seen.hosts > 1 {
        return Err(BadRequest::syntax("a request has exactly one Host"));
    }
    let (named, sent) = (parts.uri.authority(), seen.host);
    match (named, sent) {
        (None, None) => Err(BadRequest::syntax("the Host is missing")),
        (None, Some(host)) => down.target(host.as_bytes()),
        (Some(authority), None) if parts.version >= Version::HTTP_2 => {
            down.target(authority.as_str().as_bytes())
        }
        (Some(_), None) => Err(BadRequest::syntax("the Host is missing")),
        (Some(authority), Some(host)) => {
            let target = down.target(authority.as_str().as_bytes())?;
            let same = host.as_bytes() == authority.as_str().as_bytes() || {
                let (name, port) = super::parse_authority(host.as_bytes())?;
                name.as_str() == &**target.host() && port == target.port()
            };
            if same {
                Ok(target)
            } else {
                Err(BadRequest::syntax("the Host is not the host of the request's target"))
            }
        }
    }
}

fn check_framing(parts: &Parts, seen: &RequestFields<'_>) -> Result<(), BadRequest> {
    if let Some(coding) = seen.transfer {
        if parts.version == Version::HTTP_10 {
            return Err(BadRequest::syntax("HTTP/1.0 has no Transfer-Encoding"));
        }
        if seen.length.is_some() {
            return Err(BadRequest::syntax("Content-Length and Transfer-Encoding exclude each other"));
        }
        if seen.transfers > 1 || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(BadRequest::with(
                StatusCode::NOT_IMPLEMENTED,
                "the only Transfer-Encoding is chunked",
            ));
        }
    }
    if let Some(expect) = seen.expect
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(BadRequest::with(StatusCode::EXPECTATION_FAILED, "the only Expect is 100-continue"));
    }
    if seen.connection_tokens > 32 {
        return Err(BadRequest::syntax("Connection names at most 32 fields"));
    }
    Ok(())
}

/// An Upgrade may be ignored (RFC 9110 section 7.8): one to HTTP/2 is, because ALPN and prior knowledge are the ways
/// there, and one that has another method than GET or a body, because an extended CONNECT cannot say it.
fn find_intent(parts: &Parts, seen: &RequestFields<'_>) -> Result<Intent, BadRequest> {
    if parts.method == Method::CONNECT {
        let protocol = parts.extensions.get::<hyper::ext::Protocol>();
        let protocol = protocol.ok_or_else(|| BadRequest::syntax("CONNECT is not served here"))?;
        let token = HeaderValue::from_bytes(protocol.as_ref());
        return token.map(Intent::Upgrade).map_err(|_| BadRequest::syntax("the :protocol is not a token"));
    }
    let Some(upgrade) = seen.upgrade.filter(|_| seen.connection_upgrade && parts.version == Version::HTTP_11)
    else {
        return Ok(Intent::Request);
    };
    let (token, single) = match upgrade.as_bytes().iter().position(|b| *b == b',') {
        Some(comma) => (&upgrade.as_bytes()[..comma], false),
        None => (upgrade.as_bytes(), true),
    };
    let token = token.trim_ascii();
    if token.is_empty() || token.len() > 64 {
        return Err(BadRequest::syntax("Upgrade names no protocol"));
    }
    if token.eq_ignore_ascii_case(b"websocket") {
        check_websocket(parts, seen)?;
        return Ok(Intent::Upgrade(HeaderValue::from_static("websocket")));
    }
    if token.eq_ignore_ascii_case(b"h2c") || parts.method != Method::GET || seen.has_body() {
        return Ok(Intent::Request);
    }
    if single && token.len() == upgrade.len() {
        return Ok(Intent::Upgrade(upgrade.clone()));
    }
    HeaderValue::from_bytes(token)
        .map(Intent::Upgrade)
        .map_err(|_| BadRequest::syntax("Upgrade is not a token"))
}

/// RFC 6455 section 4.2.1: GET, and a key of 16 bytes in base64.
fn check_websocket(parts: &Parts, seen: &RequestFields<'_>) -> Result<(), BadRequest> {
    if parts.method != Method::GET || seen.has_body() {
        return Err(BadRequest::syntax("a WebSocket starts with GET and without a body"));
    }
    let key = seen.key.filter(|_| seen.keys == 1).map_or(&b""[..], |key| key.as_bytes().trim_ascii());
    let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    if key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(base64) {
        Ok(())
    } else {
        Err(BadRequest::syntax("Sec-WebSocket-Key is not 16 bytes in base64"))
    }
}

/// Checks the length that a body announces against the account's limit, before any of it is read.
///
/// # Errors
/// 413 when the body is longer than `max` bytes.
pub fn check_length(length: Option<u64>, max: Option<u64>) -> Result<(), BadRequest> {
    if let (Some(length), Some(max)) = (length, max)
        && length > max
    {
        return Err(BadRequest::too_long());
    }
    Ok(())
}

/// Checks a request's trailers: none may change framing, routing or who the consumer is.
///
/// # Errors
/// 400, or 431 as for headers. The head is on its way by then: its stream is reset, so that the service takes nothing
/// for a whole request, and the consumer gets the status unless its answer has begun.
pub fn check_trailers(trailers: &HeaderMap) -> Result<(), BadRequest> {
    if trailers.len() > MAX_FIELDS || walk(trailers).bytes > MAX_HEADER_BYTES {
        return Err(BadRequest::too_large("trailers have at most 100 fields and 16 KiB"));
    }
    if trailers.keys().any(|name| names::is_forbidden_trailer(name.as_str().as_bytes())) {
        return Err(BadRequest::syntax("a trailer must not change framing or routing"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
