//! A consumer's request, made ready for its stream.

use super::{Downstream, Target, names};
use http::{
    HeaderMap, HeaderName, HeaderValue, Version, header,
    request::Parts,
    uri::{PathAndQuery, Uri},
};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Rewrites a checked request: an absolute target for HTTP/2, nothing that belongs to the consumer's connection, and
/// forwarding headers that say what the relay itself has seen.
///
/// `Expect` ends here: hyper answers `100 Continue` when the body is first read. Cookie crumbs of HTTP/2 become one
/// field again (RFC 9113 section 8.2.3), because a service may speak HTTP/1.1.
pub fn forward(parts: &mut Parts, downstream: &Downstream, target: &Target) {
    let headers = &mut parts.headers;
    let trailers = headers.get_all(header::TE).iter().any(accepts_trailers);
    strip_named_by_connection(headers);
    strip(headers);
    if parts.version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    headers.insert(X_FORWARDED_FOR.clone(), downstream.address_value.clone());
    headers.insert(X_FORWARDED_PROTO.clone(), downstream.scheme_value.clone());
    headers.insert(X_FORWARDED_HOST.clone(), target.host_value.clone());
    headers.insert(X_FORWARDED_PORT.clone(), downstream.port_value.clone());
    headers.insert(header::FORWARDED, target.forwarded.clone());

    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(downstream.scheme.clone());
    uri.authority = Some(target.authority.clone());
    let path = parts.uri.path_and_query().cloned();
    uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.uri = Uri::from_parts(uri).expect("scheme, authority and path are all there");
    parts.version = Version::HTTP_2;
}

fn accepts_trailers(value: &HeaderValue) -> bool {
    let name = |coding: &[u8]| {
        let end = coding.iter().position(|b| *b == b';').unwrap_or(coding.len());
        coding[..end].trim_ascii().eq_ignore_ascii_case(b"trailers")
    };
    value.as_bytes().split(|b| *b == b',').any(name)
}

/// Takes off the fields that `Connection` names. A consumer can name any field, but only take off what it sent itself.
fn strip_named_by_connection(headers: &mut HeaderMap) {
    // Nearly every request has none, `keep-alive` or `close`.
    let plain = |token: &[u8]| {
        [&b"keep-alive"[..], b"close", b"upgrade", b"te"]
            .iter()
            .any(|known| token.eq_ignore_ascii_case(known))
    };
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if !plain(token)
                && let Ok(name) = HeaderName::from_bytes(token)
            {
                named.push(name);
            }
        }
    }
    for name in named {
        headers.remove(name);
    }
}

fn strip(headers: &mut HeaderMap) {
    // What nearly every request of HTTP/1.1 has goes without a list.
    headers.remove(header::HOST);
    headers.remove(header::CONNECTION);
    let stripped = |name: &&HeaderName| names::is_stripped(name.as_str().as_bytes());
    let found: Vec<HeaderName> = headers.keys().filter(stripped).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = Vec::with_capacity(first.len() + second.len() + 256);
    joined.extend_from_slice(first.as_bytes());
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    let joined = HeaderValue::from_maybe_shared(joined).expect("made of header values");
    headers.insert(header::COOKIE, joined);
}

#[cfg(test)]
mod tests;
