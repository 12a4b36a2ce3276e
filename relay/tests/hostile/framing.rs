//! HTTP/1.1 that is framed wrongly or twice: the service gets one clean request or none.

use crate::{fixture::publish, relay_fixture::HOST};
use adit_testkit::http::RecordingService;
use tokio::io::AsyncWriteExt;

/// Asserts that a forwarded request has one Host, one framing, no hop-by-hop fields and none of Adit's.
fn assert_clean(request: &str) {
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    let count = |name: &str| {
        let prefix = format!("{name}:");
        head.split("\r\n").filter(|line| line.to_ascii_lowercase().starts_with(&prefix)).count()
    };
    assert_eq!(count("host"), 1, "{request:?}");
    assert!(count("content-length") + count("transfer-encoding") <= 1, "{request:?}");
    for name in ["connection", "keep-alive", "upgrade", "expect", "http2-settings", "proxy-connection"] {
        assert_eq!(count(name), 0, "{name} in {request:?}");
    }
    assert!(!head.to_ascii_lowercase().contains("\nadit-") && !head.contains('\0'), "{request:?}");
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\n{fields}\r\n")
}

/// Heads that break a rule, and the status of the answer.
fn wrong_heads() -> Vec<(String, u16)> {
    let shop = |fields: &str| get(&format!("Host: {HOST}\r\n{fields}"));
    let line = |line: &str| format!("{line}\r\nHost: {HOST}\r\n\r\n");
    vec![
        (get(""), 400),
        (shop(&format!("Host: {HOST}\r\n")), 400),
        (shop("Host: other.adit.localhost\r\n"), 400),
        (get(&format!("Host: me@{HOST}\r\n")), 400),
        (get(&format!("Host: {HOST}, other\r\n")), 400),
        (get(&format!("Host: {HOST}/x\r\n")), 400),
        (get(&format!("Host: {HOST}:99999\r\n")), 400),
        (get(&format!("Host : {HOST}\r\n")), 400),
        (get(&format!(" Host: {HOST}\r\n")), 400),
        (line("GET http://other.adit.localhost/ HTTP/1.1"), 400),
        (line(&format!("GET ftp://{HOST}/ HTTP/1.1")), 400),
        (line(&format!("CONNECT {HOST}:443 HTTP/1.1")), 400),
        (line("CONNECT 127.0.0.1:22 HTTP/1.1"), 400),
        (line("GET /%00 HTTP/1.1"), 400),
        (line("GET /a b HTTP/1.1"), 400),
        (line("GET /\u{1} HTTP/1.1"), 400),
        (line("GET relative HTTP/1.1"), 400),
        (line("GET * HTTP/1.1"), 400),
        (line("G\"T / HTTP/1.1"), 400),
        (line("GET / HTTP/1.2"), 400),
        (line("GET / HTTP/3.0"), 400),
        (line("GET /"), 400),
        (line(&format!("GET /{} HTTP/1.1", "x".repeat(9 * 1024))), 414),
        (shop(&"A: b\r\n".repeat(100)), 431),
        (shop(&format!("A: {}\r\n", "x".repeat(16 * 1024))), 431),
        (shop(&"A: b\r\n".repeat(20_000)), 431),
        (shop(&format!("A: {}\r\n", "x".repeat(1024 * 1024))), 431),
        (shop("A: \x01\r\n"), 400),
        (shop("A: b\0c\r\n"), 400),
        (shop("A: b\rc\r\n"), 400),
        (shop("A: b\r\n c\r\n"), 400),
        (shop("A\0: b\r\n"), 400),
        (shop(": b\r\n"), 400),
        (shop("no colon\r\n"), 400),
        (shop("Expect: 200-ok\r\n"), 417),
    ]
}

/// Bodies that are framed wrongly, and the status of the answer.
fn wrong_bodies() -> Vec<(String, u16)> {
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n{body}");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let smuggled = format!("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    vec![
        (post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), 400),
        (post("Content-Length: 1, 1\r\n", "a"), 400),
        (post("Content-Length: +1\r\n", "a"), 400),
        (post("Content-Length: -1\r\n", "a"), 400),
        (post("Content-Length: 0x1\r\n", "a"), 400),
        (post("Content-Length: 99999999999999999999\r\n", "a"), 400),
        (post("Content-Length: 2097152\r\n", "a"), 413),
        (post("Transfer-Encoding: gzip\r\n", ""), 400),
        (post("Transfer-Encoding: chunked, gzip\r\n", &smuggled), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n", &smuggled), 501),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &smuggled), 501),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &smuggled), 400),
        (post("Transfer-Encoding: xchunked\r\n", &smuggled), 400),
        (post("Transfer-Encoding: \x0bchunked\r\n", &smuggled), 400),
        (post("Transfer-Encoding : chunked\r\n", &smuggled), 400),
        (post(chunked, "0x1\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "1_0\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "-1\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "g\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "10000000000000000\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "1\r\nab\r\n0\r\n\r\n"), 400),
        (post(chunked, "1\na\r\n0\r\n\r\n"), 400),
        (post(chunked, &format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(100_000))), 400),
        (post(chunked, &format!("{}0\r\n\r\n", "1;xxxxxxxx\r\na\r\n".repeat(10_000))), 400),
        (post(chunked, "1\r\na\r\n0\r\nHost: b\r\n\r\n"), 400),
        (post(chunked, "1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n"), 400),
        (post(chunked, "1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        (post(chunked, "1\r\na\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"), 400),
        (post(chunked, "1\r\na\r\n0\r\nadit-tunnel: x\r\n\r\n"), 400),
        (post(chunked, &format!("1\r\na\r\n0\r\n{}\r\n", "A: b\r\n".repeat(200))), 400),
        (format!("POST / HTTP/1.0\r\nHost: {HOST}\r\n{chunked}\r\n{smuggled}"), 400),
    ]
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_reaches_no_service() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    for (request, status) in wrong_heads().into_iter().chain(wrong_bodies()) {
        let answer = fixture.consumer().send(&request).await;
        let start: String = request.chars().take(150).collect();
        let answer = answer.unwrap_or_else(|error| panic!("{start:?}: {error}"));
        assert_eq!(answer.status, status, "{start:?}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(service.requests(), Vec::<String>::new(), "{start:?}");
    }
    fixture.assert_serves().await;
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn what_is_not_http_gets_no_more_than_an_error() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: shop.adit.localhost\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
    ];
    for bytes in garbage {
        match fixture.consumer().send(bytes).await {
            Ok(answer) => assert_eq!(answer.status, 400, "{bytes:?}"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{bytes:?}"),
        }
    }
    assert_eq!(service.requests(), Vec::<String>::new());
    fixture.assert_serves().await;
}

#[tokio::test]
async fn what_is_read_leniently_travels_as_one_clean_request() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let cases = [
        // Content-Length beside Transfer-Encoding: the chunks count, the length does not travel.
        (
            format!(
                "POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            ),
            "POST /a ",
        ),
        (
            format!(
                "POST /b HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: CHUNKED\r\nContent-Length: 0\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            ),
            "POST /b ",
        ),
        (
            format!("POST /c HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
            "POST /c ",
        ),
        (format!("GET /d HTTP/1.1\nHost: {HOST}\nA: b\n\n"), "GET /d "),
        (
            format!(
                "POST /e HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\nx\r\n0;c\r\n\r\n"
            ),
            "POST /e ",
        ),
        (format!("GET http://{HOST}/f HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), "GET /f "),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), "OPTIONS * "),
        (format!("TRACE /g HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), "TRACE /g "),
        (format!("BREW /h HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), "BREW /h "),
        (
            format!("GET /i%2f..%2F/../j?%00=%zz HTTP/1.1\r\nHost: {}.\r\n\r\n", HOST.to_uppercase()),
            "GET /i%2f..%2F/../j?%00=%zz ",
        ),
        (format!("GET /k HTTP/1.0\r\nHost: {HOST}\r\n\r\n"), "GET /k "),
        (
            format!(
                "GET /l HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, X-A, x-b\r\nX-A: 1\r\nX-B: 2\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\r\n"
            ),
            "GET /l ",
        ),
        (format!("GET /m HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\n\r\nx"), "GET /m "),
    ];
    for (request, start) in cases {
        let answer =
            fixture.consumer().send(&request).await.unwrap_or_else(|error| panic!("{start}: {error}"));
        assert_eq!(answer.status, 200, "{start}: {}", answer.text());
        let seen = service.requests();
        assert_eq!(seen.len(), 1, "{start}: {seen:?}");
        assert!(seen[0].starts_with(start), "{start}: {seen:?}");
        assert_clean(&seen[0]);
        assert!(!seen[0].contains("x-a:") && !seen[0].contains("x-b:"), "{seen:?}");
        // What follows on the connection is a request of its own, or nothing; never a part of the first.
        let mut wire = fixture.consumer().connect().await.unwrap();
        wire.write_all(format!("{request}{smuggled}").as_bytes()).await.unwrap();
        assert_eq!(wire.answer(false).await.unwrap().status, 200, "{start}");
        let second = wire.answer(false).await;
        let seen = service.requests();
        assert_eq!(seen.len(), 1 + usize::from(second.is_ok()), "{start}: {seen:?}");
        for request in &seen {
            assert_clean(request);
        }
        assert!(seen.len() == 1 || seen[1].starts_with("GET /smuggled "), "{seen:?}");
    }
    assert_eq!(service.broken(), Vec::<String>::new());
}

#[tokio::test]
async fn a_connection_is_for_the_name_that_its_tls_was_made_for() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    let cases = [
        ("GET / HTTP/1.1\r\nHost: other.adit.localhost\r\n\r\n".to_owned(), 421),
        ("GET https://other.adit.localhost/ HTTP/1.1\r\nHost: other.adit.localhost\r\n\r\n".to_owned(), 421),
        (format!("GET https://other.adit.localhost/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: adit.localhost\r\n\r\n".to_owned(), 421),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}:1\r\n\r\n"), 200),
        (format!("GET / HTTP/1.1\r\nHost: {}.\r\n\r\n", HOST.to_uppercase()), 200),
    ];
    for (request, status) in cases {
        let answer = fixture.tls_consumer(&[b"http/1.1"]).send(&request).await.unwrap();
        assert_eq!(answer.status, status, "{request:?}");
    }
    assert_eq!(service.requests().len(), 2);
    let mut http2 = fixture.http2().await;
    for (authority, host, status) in [
        (HOST, None, 200),
        ("other.adit.localhost", None, 421),
        ("other.adit.localhost", Some(HOST), 400),
        (HOST, Some("other.adit.localhost"), 400),
        (HOST, Some(HOST), 200),
    ] {
        let mut request = http::Request::get(format!("https://{authority}/"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        http2 = http2.ready().await.unwrap();
        let (response, _) = http2.send_request(request.body(()).unwrap(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), status, "{authority} {host:?}");
    }
    assert_eq!(service.requests().len(), 2);
}
