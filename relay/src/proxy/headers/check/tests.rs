use super::*;
use adit_protocol::Code;
use http::Request;

fn parts(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn run(parts: &Parts) -> Result<CheckedRequest, BadRequest> {
    check(parts, &Downstream::new("192.0.2.9:50000".parse().unwrap(), true, 443))
}

fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
    run(&parts(Version::HTTP_11, method, uri, headers)).map_or_else(|bad| bad.status.as_u16(), |_| 200)
}

const HOST: (&str, &str) = ("host", "shop.example");
const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

#[test]
fn a_request_names_exactly_one_host() {
    assert_eq!(status("GET", "/", &[HOST]), 200);
    assert_eq!(status("GET", "/", &[]), 400);
    assert_eq!(status("GET", "/", &[HOST, HOST]), 400);
    assert_eq!(status("GET", "/", &[("host", "")]), 400);
    assert_eq!(status("GET", "/", &[("host", "user@shop.example")]), 400);
    assert_eq!(
        status("GET", "http://shop.example/", &[]),
        400,
        "HTTP/1.1 needs Host with an absolute target too"
    );
    let http2 = parts(Version::HTTP_2, "GET", "https://Shop.example:8443/", &[]);
    assert_eq!(&**run(&http2).unwrap().target.host(), "shop.example");
}

#[test]
fn the_host_and_an_absolute_target_agree() {
    assert_eq!(status("GET", "http://shop.example/", &[HOST]), 200);
    assert_eq!(status("GET", "https://SHOP.example./", &[HOST]), 200);
    assert_eq!(status("GET", "http://other.example/", &[HOST]), 400);
    assert_eq!(status("GET", "http://shop.example:81/", &[HOST]), 400);
    assert_eq!(status("GET", "http://user@shop.example/", &[HOST]), 400);
    assert_eq!(status("GET", "ftp://shop.example/", &[HOST]), 400);
    let http2 = parts(Version::HTTP_2, "GET", "https://shop.example/", &[("host", "other.example")]);
    assert_eq!(run(&http2).unwrap_err().status, 400);
}

#[test]
fn targets_are_paths_of_bounded_length() {
    assert_eq!(status("OPTIONS", "*", &[HOST]), 200);
    assert_eq!(status("GET", "*", &[HOST]), 400);
    assert_eq!(status("GET", "shop.example", &[HOST]), 400);
    assert_eq!(status("CONNECT", "shop.example:443", &[HOST]), 400);
    assert_eq!(status("GET", "/a%2fb/../c%ff?x=%00", &[HOST]), 200, "escapes are the service's");
    assert_eq!(status("GET", "/a%00b", &[HOST]), 400);
    assert!("/a\u{7f}b".parse::<http::Uri>().is_err() && "/a\0b".parse::<http::Uri>().is_err());
    assert_eq!(status("GET", &format!("/{}", "x".repeat(MAX_TARGET_BYTES - 1)), &[HOST]), 200);
    assert_eq!(status("GET", &format!("/{}", "x".repeat(MAX_TARGET_BYTES)), &[HOST]), 414);
    assert_eq!(status("GET", &format!("/{}", "x".repeat(60_000)), &[HOST]), 414);
}

#[test]
fn headers_are_bounded_in_number_and_bytes() {
    let crumbs = |n: usize| (0..n).map(|_| ("cookie", "a=b")).chain([HOST]).collect::<Vec<_>>();
    assert_eq!(status("GET", "/", &crumbs(99)), 200);
    assert_eq!(status("GET", "/", &crumbs(100)), 431);
    let fits = "x".repeat(MAX_HEADER_BYTES - 32 - 4 - 12 - 32 - 1);
    assert_eq!(status("GET", "/", &[HOST, ("a", &fits)]), 200);
    assert_eq!(status("GET", "/", &[HOST, ("a", &format!("{fits}x"))]), 431);
    let bad = run(&parts(Version::HTTP_11, "GET", "/", &crumbs(100))).unwrap_err();
    assert_eq!(bad.code, Code::HeadersTooLarge);
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    let chunked = ("transfer-encoding", "chunked");
    assert_eq!(status("POST", "/", &[HOST, chunked]), 200);
    assert_eq!(status("POST", "/", &[HOST, ("transfer-encoding", " Chunked ")]), 200);
    assert_eq!(status("POST", "/", &[HOST, chunked, ("content-length", "5")]), 400);
    assert_eq!(status("POST", "/", &[HOST, chunked, chunked]), 501);
    assert_eq!(status("POST", "/", &[HOST, ("transfer-encoding", "gzip, chunked")]), 501);
    assert_eq!(status("POST", "/", &[HOST, ("transfer-encoding", "chunked, chunked")]), 501);
    let old = parts(Version::HTTP_10, "POST", "/", &[HOST, chunked]);
    assert_eq!(run(&old).unwrap_err().status, 400);
    assert_eq!(status("POST", "/", &[HOST, ("expect", "100-Continue")]), 200);
    assert_eq!(status("POST", "/", &[HOST, ("expect", "200-ok")]), 417);
    let many = "x,".repeat(40);
    assert_eq!(status("GET", "/", &[HOST, ("connection", &many)]), 400);
}

#[test]
fn an_upgrade_is_told_from_a_request() {
    let upgrade = ("connection", "keep-alive, Upgrade");
    let intent = |headers: &[_]| run(&parts(Version::HTTP_11, "GET", "/", headers)).unwrap().intent;
    let to = |token: &'static str| Intent::Upgrade(HeaderValue::from_static(token));
    assert_eq!(intent(&[HOST, upgrade, ("upgrade", "WebSocket"), KEY]), to("websocket"));
    assert_eq!(intent(&[HOST, upgrade, ("upgrade", "tcp")]), to("tcp"));
    assert_eq!(intent(&[HOST, upgrade, ("upgrade", "foo/2, websocket")]), to("foo/2"));
    assert_eq!(intent(&[HOST, ("upgrade", "websocket")]), Intent::Request, "Connection does not name it");
    assert_eq!(intent(&[HOST, upgrade, ("upgrade", "h2c"), ("http2-settings", "AA")]), Intent::Request);
    assert_eq!(intent(&[HOST, upgrade]), Intent::Request);
    assert_eq!(status("POST", "/", &[HOST, upgrade, ("upgrade", "tcp")]), 200);
    assert_eq!(status("GET", "/", &[HOST, upgrade, ("upgrade", " ,")]), 400);
    let old = parts(Version::HTTP_10, "GET", "/", &[HOST, upgrade, ("upgrade", "websocket")]);
    assert_eq!(run(&old).unwrap().intent, Intent::Request);
}

#[test]
fn a_websocket_needs_get_and_a_key_of_16_bytes() {
    let base = [HOST, ("connection", "upgrade"), ("upgrade", "websocket")];
    let with = |key: &str| status("GET", "/", &[&base[..], &[("sec-websocket-key", key)]].concat());
    assert_eq!(with(KEY.1), 200);
    for key in ["", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j!Q==", "YQ=="] {
        assert_eq!(with(key), 400, "{key:?}");
    }
    assert_eq!(status("GET", "/", &base), 400);
    assert_eq!(status("GET", "/", &[&base[..], &[KEY, KEY]].concat()), 400);
    assert_eq!(status("POST", "/", &[&base[..], &[KEY]].concat()), 400);
}

#[test]
fn an_extended_connect_is_an_upgrade() {
    let mut connect = parts(Version::HTTP_2, "CONNECT", "https://shop.example/chat", &[]);
    assert_eq!(run(&connect).unwrap_err().status, 400);
    connect.extensions.insert(hyper::ext::Protocol::from_static("websocket"));
    assert_eq!(run(&connect).unwrap().intent, Intent::Upgrade(HeaderValue::from_static("websocket")));
}

#[test]
fn bodies_and_trailers_are_bounded() {
    assert!(check_length(Some(10), Some(10)).is_ok() && check_length(None, Some(1)).is_ok());
    assert!(check_length(Some(u64::MAX), None).is_ok());
    assert_eq!(check_length(Some(11), Some(10)).unwrap_err().status, 413);
    let trailers = |name: &str| parts(Version::HTTP_11, "POST", "/", &[(name, "1")]).headers;
    assert!(check_trailers(&trailers("grpc-status")).is_ok());
    for name in
        ["host", "content-length", "transfer-encoding", "connection", "x-forwarded-for", "adit-tunnel", "te"]
    {
        assert_eq!(check_trailers(&trailers(name)).unwrap_err().status, 400, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_header_makes_the_check_panic(
        names in proptest::collection::vec("[a-zA-Z_-]{1,20}", 0..8),
        values in proptest::collection::vec("[ -~]{0,40}", 8),
        method in "(GET|POST|CONNECT|OPTIONS)",
    ) {
        let mut fields: Vec<(&str, &str)> = vec![HOST];
        fields.extend(names.iter().map(String::as_str).zip(values.iter().map(|v| v.trim())));
        let _ = run(&parts(Version::HTTP_11, &method, "/a?b", &fields));
    }
}
