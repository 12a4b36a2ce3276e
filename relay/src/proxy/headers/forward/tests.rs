use super::*;
use crate::proxy::headers::check;
use http::Request;

fn forwarded(version: Version, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().version(version).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    let down = Downstream::new("203.0.113.7:50000".parse().unwrap(), true, 8443);
    let target = check(&parts, &down).unwrap().target;
    forward(&mut parts, &down, &target);
    parts
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

const WRITTEN: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"];

#[test]
fn the_target_is_absolute_and_otherwise_as_sent() {
    let parts = forwarded(Version::HTTP_11, "/a%2Fb?c=%20d", &[("host", "Shop.example:8443")]);
    assert_eq!(parts.uri.to_string(), "https://Shop.example:8443/a%2Fb?c=%20d");
    assert_eq!(parts.version, Version::HTTP_2);
    let parts = forwarded(Version::HTTP_11, "http://shop.example", &[("host", "shop.example")]);
    assert_eq!(parts.uri.to_string(), "https://shop.example/", "the scheme is the connection's");
}

#[test]
fn what_the_consumer_says_about_itself_is_replaced() {
    let spoofed = [
        ("host", "shop.example"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x-forwarded-client-cert", "x"),
        ("x-forwarded-proto", "http"),
        ("x-real-ip", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("forwarded", "for=10.0.0.2"),
        ("adit-tunnel", "tn_other"),
        ("adit_tunnel", "tn_other"),
        ("proxy", "http://evil.example"),
        ("accept", "*/*"),
    ];
    let parts = forwarded(Version::HTTP_11, "/", &spoofed);
    let mut expected = vec!["accept"];
    expected.extend(WRITTEN);
    assert_eq!(names(&parts.headers), expected);
    let one = |name: &str| {
        let all: Vec<_> = parts.headers.get_all(name).iter().collect();
        assert_eq!(all.len(), 1, "{name}");
        all[0].to_str().unwrap()
    };
    assert_eq!(one("x-forwarded-for"), "203.0.113.7");
    assert_eq!(one("x-forwarded-proto"), "https");
    assert_eq!(one("x-forwarded-host"), "shop.example");
    assert_eq!(one("x-forwarded-port"), "8443");
    assert_eq!(one("forwarded"), "for=203.0.113.7;host=shop.example;proto=https");
}

#[test]
fn what_belongs_to_the_connection_ends_here() {
    let sent = [
        ("host", "shop.example"),
        ("connection", "close, X-Hop,, cookie"),
        ("connection", "x-forwarded-for, x second"),
        ("x-hop", "1"),
        ("cookie", "a=b"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AA"),
        ("expect", "100-continue"),
        ("te", "gzip;q=0.5"),
        ("trailer", "x-sum"),
    ];
    let parts = forwarded(Version::HTTP_11, "/", &sent);
    let mut expected = WRITTEN.to_vec();
    expected.insert(1, "trailer");
    assert_eq!(names(&parts.headers), expected);
}

#[test]
fn te_keeps_trailers_alone() {
    let te = |value: &str| {
        let parts = forwarded(Version::HTTP_11, "/", &[("host", "a"), ("te", value)]);
        parts.headers.get("te").map(|v| v.to_str().unwrap().to_owned())
    };
    assert_eq!(te("trailers").as_deref(), Some("trailers"));
    assert_eq!(te("gzip, Trailers;q=1").as_deref(), Some("trailers"));
    assert_eq!(te("gzip"), None);
    assert_eq!(te("trailersx"), None);
}

#[test]
fn cookie_crumbs_become_one_field() {
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    let parts = forwarded(Version::HTTP_2, "https://shop.example/", &crumbs);
    let cookies: Vec<_> = parts.headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}
