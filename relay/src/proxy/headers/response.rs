//! A service's response, made ready for the consumer.

use super::names;
use adit_protocol::{Code, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response::Parts};

/// Why a service's response cannot be passed on: the consumer gets 502 with [`Code::ServiceProtocol`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// A field that HTTP/2 has no room for (RFC 9113 section 8.2.2).
    #[error("the response has a Connection, Upgrade or Transfer-Encoding field")]
    ConnectionField,
    /// An interim status in place of a final one, or 101 to a request that asked for no upgrade.
    #[error("the response's status is not a final one")]
    Status,
}

/// The purpose of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A request: any final status will do.
    Request,
    /// An Upgrade: 200 stands for the service's 101.
    Upgrade,
}

/// The origin of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The service.
    Service,
    /// The tunnel's client, in place of its service: the consumer gets the page for this code.
    Client(Code),
}

/// Checks and cleans a response that came over a stream. `host` is the endpoint's host, `domain` the region's: a
/// cookie for the whole region would reach every other tunnel, so its Domain attribute is taken off.
///
/// `Alt-Svc` goes too: it names a port of the service's own machine, where no consumer gets an answer.
///
/// # Errors
/// [`BadResponse`]: the stream is then reset, and nothing of the response shown.
pub fn check_response(
    parts: &mut Parts,
    role: Role,
    host: &str,
    domain: &str,
) -> Result<Answer, BadResponse> {
    if parts.status.is_informational() {
        return Err(BadResponse::Status);
    }
    if role == Role::Upgrade && parts.status.is_success() && parts.status != StatusCode::OK {
        return Err(BadResponse::Status);
    }
    let headers = &mut parts.headers;
    let mut found = Vec::new();
    let mut cookies = false;
    for name in headers.keys() {
        match name.as_str() {
            "connection" | "upgrade" | "transfer-encoding" => return Err(BadResponse::ConnectionField),
            "set-cookie" => cookies = true,
            "alt-svc" => found.push(name.clone()),
            text if names::ends_here(text.as_bytes()) => found.push(name.clone()),
            _ => {}
        }
    }
    let answer = if found.is_empty() { Answer::Service } else { who_answered(headers) };
    for name in found {
        headers.remove(name);
    }
    if cookies {
        keep_cookies_at_home(headers, host, domain);
    }
    Ok(answer)
}

/// A client may speak for itself and its service, not for the relay: what it says beyond that counts as its failure.
fn who_answered(headers: &HeaderMap) -> Answer {
    let Some(value) = headers.get(stream::ERROR) else { return Answer::Service };
    let code = Code::from(value.to_str().unwrap_or_default().to_owned());
    match code {
        Code::ServiceDown
        | Code::ServiceTimeout
        | Code::ServiceProtocol
        | Code::Paused
        | Code::BadRequest => Answer::Client(code),
        _ => Answer::Client(Code::ServiceProtocol),
    }
}

/// Takes the Domain attribute off cookies whose domain is the region's or above it. The cookie then holds for its own
/// host alone (RFC 6265 section 5.3).
fn keep_cookies_at_home(headers: &mut HeaderMap, host: &str, domain: &str) {
    if !is_within(host, domain) {
        return;
    }
    let too_wide = |value: &HeaderValue| domain_attribute(value.as_bytes(), host).is_some();
    if !headers.get_all(header::SET_COOKIE).iter().any(too_wide) {
        return;
    }
    if let header::Entry::Occupied(entry) = headers.entry(header::SET_COOKIE) {
        let (name, values) = entry.remove_entry_mult();
        let values: Vec<HeaderValue> = values.map(|value| without_domain(value, host)).collect();
        append_all(headers, &name, values);
    }
}

fn append_all(headers: &mut HeaderMap, name: &HeaderName, values: Vec<HeaderValue>) {
    for value in values {
        headers.append(name.clone(), value);
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Where in `cookie` a Domain attribute stands that is wider than `host`, from its `;` to its end.
fn domain_attribute(cookie: &[u8], host: &str) -> Option<std::ops::Range<usize>> {
    let mut at = cookie.iter().position(|b| *b == b';')?;
    loop {
        let end = cookie[at + 1..].iter().position(|b| *b == b';').map_or(cookie.len(), |next| at + 1 + next);
        let attribute = cookie[at + 1..end].trim_ascii();
        if attribute.len() >= 6 && attribute[..6].eq_ignore_ascii_case(b"domain") {
            let value = attribute[6..].trim_ascii_start();
            if let Some(value) = value.strip_prefix(b"=") {
                let value = value.trim_ascii();
                let value = value.strip_prefix(b".").unwrap_or(value);
                if !value.eq_ignore_ascii_case(host.as_bytes()) && !value.is_empty() {
                    return Some(at..end);
                }
            }
        }
        if end == cookie.len() {
            return None;
        }
        at = end;
    }
}

fn without_domain(value: HeaderValue, host: &str) -> HeaderValue {
    let mut bytes = value.as_bytes().to_vec();
    if domain_attribute(&bytes, host).is_none() {
        return value;
    }
    while let Some(range) = domain_attribute(&bytes, host) {
        bytes.drain(range);
    }
    HeaderValue::from_maybe_shared(bytes).expect("made of a header value")
}

/// Takes off a response's trailers what would change framing or speak for the relay.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    let forbidden = |name: &&HeaderName| names::is_forbidden_trailer(name.as_str().as_bytes());
    let found: Vec<HeaderName> = trailers.keys().filter(forbidden).cloned().collect();
    for name in found {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests;
