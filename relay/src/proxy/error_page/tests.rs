use super::*;
use crate::ops::access_log::RequestIds;
use http::Request;

const NOW_US: u64 = 1_795_257_667_000_000;

fn asker(method: &str, headers: &[(&str, &str)]) -> Requester {
    let mut request = Request::builder().method(method);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    Requester::of(request.method(), request.headers())
}

fn failure(code: Code) -> Failure<'static> {
    let request_id = RequestIds::new(7, 0).next(NOW_US);
    Failure::new(code, Some("shop.eu.example.com"), request_id, NOW_US)
}

fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

const HTML: (&str, &str) = ("accept", "application/xhtml+xml,Text/HTML;q=0.9");

#[test]
fn only_who_opens_a_page_gets_html() {
    let audience = |headers: &[_]| asker("GET", headers).audience;
    assert_eq!(audience(&[HTML]), Audience::Browser);
    assert_eq!(audience(&[("sec-fetch-dest", "document")]), Audience::Browser);
    assert_eq!(audience(&[HTML, ("sec-fetch-dest", "image")]), Audience::Program);
    assert_eq!(audience(&[("accept", "*/*")]), Audience::Program);
    assert_eq!(audience(&[]), Audience::Program);
    assert_eq!(audience(&[("content-type", "application/grpc")]), Audience::Grpc);
    assert_eq!(audience(&[("content-type", "application/grpc+proto")]), Audience::Grpc);
    assert_eq!(audience(&[("content-type", "application/grpc-web+proto")]), Audience::GrpcWeb);
    assert_eq!(audience(&[("content-type", "application/grpcx")]), Audience::Program);
}

#[test]
fn every_code_has_a_status_of_its_side() {
    for code in Code::ALL {
        let response = failure(*code).response(asker("GET", &[]));
        let status = response.status().as_u16();
        assert!((400..600).contains(&status), "{code}");
        assert_eq!(response.headers()["adit-error"], code.as_str());
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["adit-request-id"].len(), RequestId::LEN);
        let retry = response.headers().get("retry-after").is_some();
        assert!(!retry || matches!(status, 429 | 502 | 503 | 504), "{code}");
        assert_eq!(retry, retry || status == 503, "{code}: every 503 says when");
    }
    let status = |code| failure(code).response(Requester::unknown()).status().as_u16();
    for (code, expected) in [
        (Code::UnknownHost, 404),
        (Code::ServiceDown, 502),
        (Code::SessionLost, 502),
        (Code::TunnelOffline, 503),
        (Code::ServiceTimeout, 504),
        (Code::Suspended, 403),
        (Code::Misdirected, 421),
        (Code::BodyTooLarge, 413),
        (Code::HeadersTooLarge, 431),
        (Code::RateLimited, 429),
        (Code::TokenExpired, 500),
    ] {
        assert_eq!(status(code), expected, "{code}");
    }
}

#[test]
fn a_page_escapes_the_host_and_names_the_request() {
    let mut failure = failure(Code::TunnelOffline);
    failure.host = Some("<script>alert('1')</script>&\"");
    failure.abuse = Some("\"onclick=\"x@example.com");
    let response = failure.response(asker("GET", &[HTML]));
    let page = body(&response);
    assert!(
        page.contains(
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot; is not connected right now"
        )
    );
    assert!(!page.contains("<script") && page.contains("mailto:&quot;onclick=&quot;x@example.com"));
    assert!(page.contains(&format!("Request <code>{}</code>", failure.request_id)));
    assert!(page.contains("2026-11-21 10:41:07 UTC"), "{page}");
    assert_eq!(page.matches("<h1>").count(), 1);
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing foreign");
}

#[test]
fn try_again_is_a_get_and_only_where_it_can_help() {
    let offers = |code, method| body(&failure(code).response(asker(method, &[HTML]))).contains("Try again");
    assert!(offers(Code::TunnelOffline, "GET"));
    assert!(!offers(Code::TunnelOffline, "POST"));
    assert!(!offers(Code::Suspended, "GET"));
    assert!(!offers(Code::UnknownHost, "GET"));
}

#[test]
fn programs_get_a_problem() {
    let bad = BadRequest { status: StatusCode::URI_TOO_LONG, code: Code::BadRequest, why: "it is too long" };
    let mut failure = failure(bad.code);
    failure.bad = Some(&bad);
    let response = failure.response(asker("POST", &[]));
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    let expected = serde_json::json!({
        "type": "urn:adit:error:bad_request", "title": "Bad request", "status": 414,
        "detail": "The request is refused: it is too long.", "code": "bad_request",
        "requestId": failure.request_id.to_string(),
    });
    assert_eq!(problem, expected);
    let offline: serde_json::Value =
        serde_json::from_slice(self::failure(Code::TunnelOffline).response(Requester::unknown()).body())
            .unwrap();
    assert_eq!(offline["retryAfter"], 5);
}

#[test]
fn grpc_gets_headers_alone() {
    let response =
        failure(Code::TunnelOffline).response(asker("POST", &[("content-type", "application/grpc+proto")]));
    assert_eq!((response.status().as_u16(), response.body().len()), (200, 0));
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(response.headers()["grpc-status"], "14");
    let message = response.headers()["grpc-message"].to_str().unwrap();
    assert!(message.starts_with("tunnel_offline: The computer behind"), "{message}");
    let suspended = failure(Code::Suspended).response(asker("POST", &[("content-type", "application/grpc")]));
    assert_eq!(suspended.headers()["grpc-status"], "7");
}

#[test]
fn head_gets_the_length_of_the_page_and_no_page() {
    let get = failure(Code::TunnelOffline).response(asker("GET", &[HTML]));
    let head = failure(Code::TunnelOffline).response(asker("HEAD", &[HTML]));
    assert!(head.body().is_empty());
    let length: usize = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(length, get.body().len());
}
