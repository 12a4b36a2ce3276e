//! Every pool of one relay, drained: what comes then is refused clearly, and all is well again afterwards.

use crate::{
    consumers::{Kind, busy},
    place::{HOST, Place},
};
use adit::{Tunnel, tunnel::OpenError};
use adit_testkit::{
    http::Answer,
    wait::{open_files, until},
};

/// The refusal says what it is in its status, its header and its problem document, and when to come again.
fn is_refused(answer: &Answer, status: u16, code: &str) {
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

async fn get(place: &Place, path: &str) -> Answer {
    place.consumer().get(HOST, path).await.expect("an answer")
}

async fn is_well_again(place: &Place) {
    let mut status = 0;
    until("requests are answered again", || place.relay.metric("adit_streams_open") == 0).await;
    for _ in 0..20 {
        status = get(place, "/").await.status;
        assert_eq!(status, 200);
    }
    assert_eq!((status, place.sessions_closed()), (200, 0));
}

/// Why a tunnel was not opened.
fn code_of(refused: Result<Tunnel, OpenError>) -> String {
    match refused.expect_err("there is no room for it") {
        OpenError::Refused(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_streams_and_no_more() {
    let place = Place::start("limits: {streams: 20, requestsPerSecond: 100000}").await;
    let _tunnel = place.http().await;
    let busy = busy(&place, Kind::Download, 20, 0).await;
    for _ in 0..5 {
        is_refused(&get(&place, "/").await, 503, "too_many_streams");
    }
    assert_eq!(place.relay.metric("adit_errors_total{code=\"too_many_streams\"}"), 5);
    drop(busy);
    is_well_again(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_a_thousand_streams_and_no_more() {
    open_files(4_000);
    let place = Place::start("lanes: 1\nlimits: {streams: 10000, requestsPerSecond: 100000}").await;
    let _tunnel = place.http().await;
    let busy = busy(&place, Kind::Download, adit_mux::MAX_STREAMS, 0).await;
    for _ in 0..5 {
        is_refused(&get(&place, "/").await, 503, "too_many_streams");
    }
    drop(busy);
    is_well_again(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_session_leaves_its_streams_to_the_others() {
    open_files(4_000);
    // Each lane prefers its own session; with two clients' worth of consumers some lane's session is full first.
    let place = Place::start("lanes: 2\nlimits: {streams: 10000, requestsPerSecond: 100000}").await;
    let _tunnel = place.http().await;
    until("the client has a session on each lane", || place.relay.metric("adit_sessions_open") == 2).await;
    let busy = busy(&place, Kind::Download, 2 * adit_mux::MAX_STREAMS, 0).await;
    is_refused(&get(&place, "/").await, 503, "too_many_streams");
    drop(busy);
    is_well_again(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_sessions_and_no_more() {
    let place = Place::start("lanes: 1\nlimits: {sessions: 2}").await;
    let open = async |name: &str| {
        place.tunnel(Tunnel::http(place.service.address().to_string()).name(name)).open().await
    };
    let first = open("one").await.unwrap();
    let _second = open("two").await.unwrap();
    assert_eq!(code_of(open("three").await), "too_many_sessions");
    assert_eq!(place.relay.metric("adit_refusals_total{code=\"too_many_sessions\"}"), 1);
    drop(first);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while let Err(refused) = open("three").await {
        assert!(std::time::Instant::now() < end, "the first session does not end");
        assert_eq!(code_of(Err(refused)), "too_many_sessions");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_tunnels_and_no_more() {
    let place = Place::start("limits: {tunnels: 2}").await;
    let open = async |account: &str, name: &str| {
        let builder = Tunnel::http(place.service.address().to_string()).name(name);
        place.tunnel_of(account, builder).open().await
    };
    let first = open("ci", "one").await.unwrap();
    let _second = open("ci", "two").await.unwrap();
    until("each tunnel is open on every session of its client", || {
        place.relay.metric("adit_tunnels_open") == place.relay.metric("adit_sessions_open")
    })
    .await;
    assert_eq!(code_of(open("ci", "three").await), "too_many_tunnels");
    assert_eq!(place.relay.metric("adit_refusals_total{code=\"too_many_tunnels\"}"), 1);
    let _other = open("other", "four").await.expect("another account has its own");
    first.close(std::time::Duration::from_secs(5)).await;
    // Its place is free once the relay, too, has done with it.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while let Err(refused) = open("ci", "three").await {
        assert!(std::time::Instant::now() < end, "{refused:?}");
        assert_eq!(code_of(Err(refused)), "too_many_tunnels");
    }
    assert!(place.relay.metric("adit_tunnels_opened_total") >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_requests_a_second_and_no_more() {
    let place = Place::start("limits: {requestsPerSecond: 5, burst: 10}").await;
    let _tunnel = place.http().await;
    let at_once: Vec<_> = (0..40)
        .map(|_| {
            let consumer = place.consumer();
            tokio::spawn(async move { consumer.get(HOST, "/").await.expect("an answer") })
        })
        .collect();
    let mut refused = 0;
    for asked in at_once {
        let answer = asked.await.unwrap();
        if answer.status != 200 {
            is_refused(&answer, 429, "rate_limited");
            refused += 1;
        }
    }
    assert!(refused > 0, "forty at once are more than ten");
    // As often as the account may: all are answered.
    let mut answered = 0;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while answered < 5 {
        assert!(std::time::Instant::now() < end, "only {answered} were answered");
        answered += u64::from(get(&place, "/").await.status == 200);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_has_so_many_bytes_and_no_more() {
    let place = Place::start("limits: {bodyBytes: 100KiB, requestsPerSecond: 100000}").await;
    let _tunnel = place.http().await;
    let announced = [
        format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 102401\r\n\r\n").into_bytes(),
        vec![0; 102_401],
    ];
    let mut grown = format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        grown += &format!("2800\r\n{}\r\n", "x".repeat(0x2800));
    }
    for request in [announced.concat(), grown.into_bytes()] {
        let seen = place.service.requests();
        is_refused(&place.consumer().send(&request).await.unwrap(), 413, "body_too_large");
        assert!(place.service.requests() <= seen + 1);
    }
    let fits = [
        format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 102400\r\n\r\n").into_bytes(),
        vec![0; 102_400],
    ];
    let answer = place.consumer().send(fits.concat()).await.unwrap();
    assert_eq!((answer.status, answer.json()["bytes"].as_u64()), (200, Some(102_400)));
    is_well_again(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_has_so_many_connections_of_consumers_and_no_more() {
    let place = Place::start("connections: 40\nlimits: {requestsPerSecond: 100000}").await;
    let _tunnel = place.http().await;
    let (_tcp, port) = place.tcp().await;
    let mut kept = vec![];
    for _ in 0..39 {
        let mut wire = place.consumer().connect().await.unwrap();
        assert_eq!(wire.send(request("/").as_bytes()).await.unwrap().status, 200);
        kept.push(wire);
    }
    let mut tcp = tokio::net::TcpStream::connect(place.relay.tcp(port)).await.unwrap();
    is_echoed(&mut tcp).await;

    for consumer in [place.consumer(), place.secure(b"http/1.1")] {
        let mut wire = consumer.connect().await.unwrap();
        let answer = wire.send(request("/").as_bytes()).await.unwrap();
        is_refused(&answer, 503, "overloaded");
        assert_eq!(answer.header("connection"), Some("close"));
        // Its place is for somebody else: nothing more comes, whichever way the connection ends.
        assert!(wire.rest().await.is_ok_and(|rest| rest.is_empty()) || wire.rest().await.is_err());
    }
    // The reset may come before the connection is said to be there.
    if let Ok(mut more) = tokio::net::TcpStream::connect(place.relay.tcp(port)).await {
        assert!(is_ended(&mut more).await, "a connection that is refused ends without a byte");
    }
    // Clients are let in, and those who have a place keep it.
    let third =
        place.tunnel(Tunnel::http(place.service.address().to_string()).name("third")).open().await.unwrap();
    assert_eq!(kept[0].send(request("/").as_bytes()).await.unwrap().status, 200);
    drop(third);
    assert_eq!(place.relay.metric("adit_connections_limit"), 40);
    assert_eq!(place.relay.metric("adit_connections_refused_total"), 3);
    kept.truncate(20);
    drop(tcp);
    until("their places are free", || place.relay.metric("adit_connections_open") <= 20).await;
    assert_eq!(get(&place, "/").await.status, 200);
    let answer = place.secure(b"http/1.1").get(HOST, "/").await.unwrap();
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

/// Whichever way: a reset that overtakes nothing, or an end.
async fn is_ended(tcp: &mut tokio::net::TcpStream) -> bool {
    use tokio::io::AsyncReadExt;
    !matches!(tcp.read(&mut [0; 16]).await, Ok(1..))
}
