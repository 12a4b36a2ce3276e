//! Rewrites the headers of a message between a stream and a service.

use adit_protocol::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING},
    request, response,
};

/// Removes Adit's own headers and those of one connection (RFC 9110 section 7.6.1). Most messages have few: one walk over
/// the names costs less than looking each up.
fn strip(headers: &mut HeaderMap) {
    let mut found: Vec<HeaderName> = vec![];
    for name in headers.keys() {
        match name.as_str() {
            "connection" => {
                found.push(CONNECTION);
                found.extend(named_by_connection(headers));
            }
            "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => found.push(name.clone()),
            text if text.starts_with(stream::PREFIX) => found.push(name.clone()),
            _ => {}
        }
    }
    for name in found {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok())
}

/// The value of `Host`, or of `:authority`, that the service gets.
fn authority(head: &request::Parts, host_header: Option<&str>) -> Option<HeaderValue> {
    match (host_header, head.uri.authority()) {
        (Some(host), _) => HeaderValue::from_str(host).ok(),
        (None, Some(authority)) => HeaderValue::from_str(authority.as_str()).ok(),
        (None, None) => head.headers.get(HOST).cloned(),
    }
}

/// Makes a stream's request one for a service that speaks HTTP/1.1.
pub(super) fn to_http1(head: &mut request::Parts, host_header: Option<&str>, has_body: bool) {
    let host = authority(head, host_header);
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    let target = std::mem::take(&mut head.uri).into_parts().path_and_query;
    head.uri = target.map_or_else(Uri::default, Uri::from);
    let headers = &mut head.headers;
    strip(headers);
    if headers.remove(TE).is_some_and(|te| te == "trailers") {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // The relay has answered 100 already: it asks for the body.
    headers.remove(EXPECT);
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    join_cookies(headers);
    // hyper takes a GET without a length for one without a body.
    if has_body && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// HTTP/2 may split cookies over several fields; HTTP/1.1 may not (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let mut joined = vec![];
    for value in headers.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, value);
    }
}

/// Makes a stream's request one for a service that speaks HTTP/2.
pub(super) fn to_http2(head: &mut request::Parts, host_header: Option<&str>, https: bool) {
    let host = authority(head, host_header);
    head.version = http::Version::HTTP_2;
    head.extensions.clear();
    strip(&mut head.headers);
    head.headers.remove(EXPECT);
    head.headers.remove(HOST);
    if head.headers.get(TE).is_some_and(|te| te != "trailers") {
        head.headers.remove(TE);
    }
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.scheme = Some(if https { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
    uri.authority = host.and_then(|host| host.to_str().ok()?.parse().ok());
    if let Ok(uri) = Uri::from_parts(uri) {
        head.uri = uri;
    }
}

/// Makes a service's answer one for a stream.
pub(super) fn from_service(head: &mut response::Parts) {
    head.version = http::Version::HTTP_2;
    head.extensions.clear();
    strip(&mut head.headers);
    head.headers.remove(TE);
}

/// The body's length; `None` if the headers do not give it.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether this is a gRPC request, which needs HTTP/2.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let bytes = value.as_bytes();
        // gRPC-Web is made for HTTP/1.1.
        bytes.starts_with(b"application/grpc") && !bytes.starts_with(b"application/grpc-web")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};

    fn request(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> request::Parts {
        let request = build(Request::builder().uri("https://shop.eu.example.com/a?b=c"));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_service_gets_the_consumers_host_and_nothing_of_adits() {
        let mut head = request(|r| {
            r.header("adit-tunnel", "tn_1")
                .header("adit-request-id", "x")
                .header("te", "gzip")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("x-other", "kept")
        });
        to_http1(&mut head, None, false);
        assert_eq!(head.uri, "/a?b=c");
        let mut headers: Vec<_> =
            head.headers.iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
        headers.sort();
        assert_eq!(headers, ["cookie: a=1; b=2", "host: shop.eu.example.com", "x-other: kept"]);

        let mut head = request(|r| r.header("host", "other"));
        to_http1(&mut head, Some("app.internal:80"), true);
        assert_eq!(head.headers[HOST], "app.internal:80");
        assert_eq!(head.headers[TRANSFER_ENCODING], "chunked");
        let mut head = request(|r| r.header("content-length", "3"));
        to_http1(&mut head, None, true);
        assert!(!head.headers.contains_key(TRANSFER_ENCODING));
    }

    #[test]
    fn an_http2_service_gets_authority_and_trailers() {
        let mut head = request(|r| r.header("te", "trailers").header("adit-tunnel", "tn_1"));
        to_http2(&mut head, None, false);
        assert_eq!(head.uri, "http://shop.eu.example.com/a?b=c");
        assert_eq!(head.headers[TE], "trailers");
        assert!(!head.headers.contains_key("adit-tunnel"));
        to_http2(&mut head, Some("app"), true);
        assert_eq!(head.uri, "https://app/a?b=c");
    }

    #[test]
    fn an_answer_loses_what_its_connection_alone_is_for() {
        let mut head = Response::builder()
            .header("connection", "keep-alive, X-Hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("transfer-encoding", "chunked")
            .header("upgrade", "h2c")
            .header("adit-error", "service_down")
            .header("Adit-Other", "x")
            .header("trailer", "x-sum")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        from_service(&mut head);
        assert_eq!(head.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["trailer"]);
    }

    #[test]
    fn grpc_is_told_from_grpc_web() {
        let of = |t: &str| is_grpc(&request(|r| r.header("content-type", t)).headers);
        assert!(of("application/grpc") && of("application/grpc+proto"));
        assert!(!of("application/grpc-web+proto") && !of("application/json"));
    }
}
