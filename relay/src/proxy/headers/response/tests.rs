use super::*;
use http::Response;

const HOST: &str = "shop.eu.example.com";
const DOMAIN: &str = "eu.example.com";

fn parts(status: u16, headers: &[(&str, &str)]) -> Parts {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

fn cookies(host: &str, sent: &[&str]) -> Vec<String> {
    let fields: Vec<_> = sent.iter().map(|cookie| ("set-cookie", *cookie)).collect();
    let mut parts = parts(200, &fields);
    check_response(&mut parts, Role::Request, host, DOMAIN).unwrap();
    parts.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_response_is_final_and_has_no_connection_fields() {
    let check = |status, role, headers: &[_]| check_response(&mut parts(status, headers), role, HOST, DOMAIN);
    assert_eq!(check(200, Role::Request, &[("content-type", "text/plain")]), Ok(Answer::Service));
    assert_eq!(check(101, Role::Request, &[]), Err(BadResponse::Status));
    assert_eq!(check(101, Role::Upgrade, &[]), Err(BadResponse::Status), "on a stream 200 stands for it");
    assert_eq!(check(100, Role::Request, &[]), Err(BadResponse::Status));
    assert_eq!(check(204, Role::Upgrade, &[]), Err(BadResponse::Status));
    assert_eq!(check(200, Role::Upgrade, &[]), Ok(Answer::Service));
    assert_eq!(check(426, Role::Upgrade, &[]), Ok(Answer::Service));
    for name in ["connection", "upgrade", "transfer-encoding"] {
        assert_eq!(check(200, Role::Request, &[(name, "x")]), Err(BadResponse::ConnectionField), "{name}");
    }
}

#[test]
fn a_service_cannot_speak_for_the_relay() {
    let mut answer = parts(
        200,
        &[
            ("adit-request-id", "x"),
            ("alt-svc", "h3=\":443\""),
            ("keep-alive", "5"),
            ("proxy-authenticate", "x"),
            ("x-a", "1"),
        ],
    );
    assert_eq!(check_response(&mut answer, Role::Request, HOST, DOMAIN), Ok(Answer::Service));
    let names: Vec<_> = answer.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-a"]);
}

#[test]
fn a_client_speaks_for_its_service_alone() {
    let says =
        |code: &str| check_response(&mut parts(502, &[("adit-error", code)]), Role::Request, HOST, DOMAIN);
    assert_eq!(says("service_down"), Ok(Answer::Client(Code::ServiceDown)));
    assert_eq!(says("paused"), Ok(Answer::Client(Code::Paused)));
    assert_eq!(says("suspended"), Ok(Answer::Client(Code::ServiceProtocol)));
    assert_eq!(says("nonsense"), Ok(Answer::Client(Code::ServiceProtocol)));
}

#[test]
fn a_cookie_never_reaches_another_tunnel() {
    for wide in [
        "a=b; Domain=eu.example.com; Path=/",
        "a=b; Domain=example.com; Path=/",
        "a=b; domain=.EU.example.com; Path=/",
        "a=b; DOMAIN = com; Path=/",
        "a=b; Domain=shop.eu.example.com; Domain=eu.example.com; Path=/",
        "a=b; Domain=com; Domain=eu.example.com; Path=/",
    ] {
        let kept = &cookies(HOST, &["x=y", wide])[1];
        assert!(!kept.contains("com;") || kept.contains("shop.eu"), "{wide} -> {kept}");
        assert!(kept.starts_with("a=b;") && kept.ends_with("; Path=/"), "{wide} -> {kept}");
    }
    assert_eq!(cookies(HOST, &["a=b; Domain=eu.example.com"]), ["a=b"]);
    let own = "a=b; Domain=shop.eu.example.com; Secure";
    assert_eq!(cookies(HOST, &[own, "c=domain=eu.example.com"]), [own, "c=domain=eu.example.com"]);
    let elsewhere = "a=b; Domain=shop.example";
    assert_eq!(cookies("www.shop.example", &[elsewhere]), [elsewhere], "a host name of the tunnel's owner");
}

#[test]
fn trailers_cannot_reframe_a_response() {
    let mut trailers =
        parts(200, &[("grpc-status", "0"), ("content-length", "1"), ("adit-error", "x")]).headers;
    clean_trailers(&mut trailers);
    assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
}

proptest::proptest! {
    #[test]
    fn no_cookie_makes_the_check_panic(cookie in "[ -~]{0,60}") {
        let cleaned = cookies(HOST, &[&cookie]).remove(0);
        proptest::prop_assert!(domain_attribute(cleaned.as_bytes(), HOST).is_none());
    }
}
