//! Exhausted limits of one relay: more is refused with a code, and the relay recovers afterwards.

use crate::{
    consumers::{ConsumerKind, start_consumers},
    fixture::{FaultFixture, HOST},
};
use adit::{Tunnel, tunnel::OpenError};
use adit_testkit::{
    http::HttpResponse,
    process::raise_open_file_limit,
    wait::{until, until_async, until_ok},
};

/// Asserts that a refusal has the code in its header and its problem document, and a Retry-After where it can be retried.
fn assert_refused(answer: &HttpResponse, status: u16, code: &str) {
    assert_eq!((answer.status, answer.header("adit-error")), (status, Some(code)), "{}", answer.text());
    let problem = answer.json();
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)));
    assert_eq!(problem["type"], format!("urn:adit:error:{code}"));
    assert!(problem["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{problem}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    let after = answer.header("retry-after").and_then(|after| after.parse::<u64>().ok());
    assert_eq!(after, problem["retryAfter"].as_u64());
    assert_eq!(after.is_some(), matches!(status, 429 | 503), "{answer:?}");
}

async fn get(fixture: &FaultFixture, path: &str) -> HttpResponse {
    fixture.consumer().get(HOST, path).await.expect("an answer")
}

async fn assert_recovered(fixture: &FaultFixture) {
    let mut status = 0;
    until("requests are answered again", || fixture.relay.metric("adit_streams_open") == 0).await;
    for _ in 0..20 {
        status = get(fixture, "/").await.status;
        assert_eq!(status, 200);
    }
    assert_eq!((status, fixture.sessions_closed()), (200, 0));
}

/// The code with which a tunnel was refused.
fn code_of(refused: Result<Tunnel, OpenError>) -> String {
    match refused.expect_err("there is no room for it") {
        OpenError::Refused(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_streams_and_no_more() {
    let fixture = FaultFixture::start("limits: {streams: 20, requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    let busy = start_consumers(&fixture, ConsumerKind::Download, 20, 0).await;
    for _ in 0..5 {
        assert_refused(&get(&fixture, "/").await, 503, "too_many_streams");
    }
    assert_eq!(fixture.relay.metric("adit_errors_total{code=\"too_many_streams\"}"), 5);
    drop(busy);
    assert_recovered(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_a_thousand_streams_and_no_more() {
    raise_open_file_limit(4_000);
    let fixture = FaultFixture::start("lanes: 1\nlimits: {streams: 10000, requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    let busy = start_consumers(&fixture, ConsumerKind::Download, adit_mux::MAX_STREAMS, 0).await;
    for _ in 0..5 {
        assert_refused(&get(&fixture, "/").await, 503, "too_many_streams");
    }
    drop(busy);
    assert_recovered(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_session_leaves_its_streams_to_the_others() {
    raise_open_file_limit(4_000);
    // Each lane prefers its own session; with two clients' worth of consumers some lane's session is full first.
    let fixture = FaultFixture::start("lanes: 2\nlimits: {streams: 10000, requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    until("the client has a session on each lane", || fixture.relay.metric("adit_sessions_open") == 2).await;
    let busy = start_consumers(&fixture, ConsumerKind::Download, 2 * adit_mux::MAX_STREAMS, 0).await;
    assert_refused(&get(&fixture, "/").await, 503, "too_many_streams");
    drop(busy);
    assert_recovered(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_sessions_and_no_more() {
    let fixture = FaultFixture::start("lanes: 1\nlimits: {sessions: 2}").await;
    let open = async |name: &str| {
        fixture.tunnel("ci", Tunnel::http(fixture.service.address().to_string()).name(name)).open().await
    };
    let first = open("one").await.unwrap();
    let _second = open("two").await.unwrap();
    assert_eq!(code_of(open("three").await), "too_many_sessions");
    assert_eq!(fixture.relay.metric("adit_refusals_total{code=\"too_many_sessions\"}"), 1);
    drop(first);
    until_ok("the first session has ended", || async {
        open("three").await.map_err(|refused| assert_eq!(code_of(Err(refused)), "too_many_sessions"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_tunnels_and_no_more() {
    let fixture = FaultFixture::start("limits: {tunnels: 2}").await;
    let open = async |account: &str, name: &str| {
        let builder = Tunnel::http(fixture.service.address().to_string()).name(name);
        fixture.tunnel(account, builder).open().await
    };
    let first = open("ci", "one").await.unwrap();
    let _second = open("ci", "two").await.unwrap();
    until("each tunnel is open on every session of its client", || {
        fixture.relay.metric("adit_tunnels_open") == fixture.relay.metric("adit_sessions_open")
    })
    .await;
    assert_eq!(code_of(open("ci", "three").await), "too_many_tunnels");
    assert_eq!(fixture.relay.metric("adit_refusals_total{code=\"too_many_tunnels\"}"), 1);
    let _other = open("other", "four").await.expect("another account has its own");
    first.close(std::time::Duration::from_secs(5)).await;
    // Its place is free once the relay, too, has done with it.
    until_ok("the first tunnel has ended", || async {
        open("ci", "three").await.map_err(|refused| assert_eq!(code_of(Err(refused)), "too_many_tunnels"))
    })
    .await;
    assert!(fixture.relay.metric("adit_tunnels_opened_total") >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_requests_a_second_and_no_more() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 5, burst: 10}").await;
    let _tunnel = fixture.publish_service().await;
    let at_once: Vec<_> = (0..40)
        .map(|_| {
            let consumer = fixture.consumer();
            tokio::spawn(async move { consumer.get(HOST, "/").await.expect("an answer") })
        })
        .collect();
    let mut refused = 0;
    for asked in at_once {
        let answer = asked.await.unwrap();
        if answer.status != 200 {
            assert_refused(&answer, 429, "rate_limited");
            refused += 1;
        }
    }
    assert!(refused > 0, "forty at once are more than ten");
    // As often as the account may: all are answered.
    for _ in 0..5 {
        until_async("the account may ask again", async || get(&fixture, "/").await.status == 200).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_has_so_many_bytes_and_no_more() {
    let fixture = FaultFixture::start("limits: {bodyBytes: 100KiB, requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    let announced = [
        format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 102401\r\n\r\n").into_bytes(),
        vec![0; 102_401],
    ];
    let mut grown = format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        grown += &format!("2800\r\n{}\r\n", "x".repeat(0x2800));
    }
    for request in [announced.concat(), grown.into_bytes()] {
        let seen = fixture.service.requests();
        assert_refused(&fixture.consumer().send(&request).await.unwrap(), 413, "body_too_large");
        assert!(fixture.service.requests() <= seen + 1);
    }
    let fits = [
        format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 102400\r\n\r\n").into_bytes(),
        vec![0; 102_400],
    ];
    let answer = fixture.consumer().send(fits.concat()).await.unwrap();
    assert_eq!((answer.status, answer.json()["bytes"].as_u64()), (200, Some(102_400)));
    assert_recovered(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_has_so_many_connections_of_consumers_and_no_more() {
    let fixture = FaultFixture::start("connections: 40\nlimits: {requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    let (_tcp, port) = fixture.publish_service_tcp().await;
    let mut kept = vec![];
    for _ in 0..39 {
        let mut wire = fixture.consumer().connect().await.unwrap();
        assert_eq!(wire.send(request("/").as_bytes()).await.unwrap().status, 200);
        kept.push(wire);
    }
    let mut tcp = tokio::net::TcpStream::connect(fixture.relay.tcp(port)).await.unwrap();
    is_echoed(&mut tcp).await;

    for consumer in [fixture.consumer(), fixture.tls_consumer(&[b"http/1.1"])] {
        let mut wire = consumer.connect().await.unwrap();
        let answer = wire.send(request("/").as_bytes()).await.unwrap();
        assert_refused(&answer, 503, "overloaded");
        assert_eq!(answer.header("connection"), Some("close"));
        // Its place is for somebody else: nothing more comes, whichever way the connection ends.
        assert!(wire.rest().await.is_ok_and(|rest| rest.is_empty()) || wire.rest().await.is_err());
    }
    // The reset may come before the connection is said to be there.
    if let Ok(mut more) = tokio::net::TcpStream::connect(fixture.relay.tcp(port)).await {
        assert!(is_ended(&mut more).await, "a connection that is refused ends without a byte");
    }
    // Clients are let in, and consumers that have a permit keep it.
    let third = fixture.open(Tunnel::http(fixture.service.address().to_string()).name("third")).await;
    assert_eq!(kept[0].send(request("/").as_bytes()).await.unwrap().status, 200);
    drop(third);
    assert_eq!(fixture.relay.metric("adit_connections_limit"), 40);
    assert_eq!(fixture.relay.metric("adit_connections_refused_total"), 3);
    kept.truncate(20);
    drop(tcp);
    until("their places are free", || fixture.relay.metric("adit_connections_open") <= 20).await;
    assert_eq!(get(&fixture, "/").await.status, 200);
    let answer = fixture.tls_consumer(&[b"http/1.1"]).get(HOST, "/").await.unwrap();
    assert_eq!(answer.status, 200);
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")
}

async fn is_echoed(tcp: &mut tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    tcp.write_all(b"GET /bytes/1 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut read = vec![0; 12];
    tcp.read_exact(&mut read).await.unwrap();
    assert_eq!(read, b"HTTP/1.1 200");
}

/// Whether the connection ends, by a reset or in order.
async fn is_ended(tcp: &mut tokio::net::TcpStream) -> bool {
    use tokio::io::AsyncReadExt;
    !matches!(tcp.read(&mut [0; 16]).await, Ok(1..))
}
