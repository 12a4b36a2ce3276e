//! Services that are down, slow or break off.

use crate::fixture::{FaultFixture, HOST};
use adit::Tunnel;
use adit_testkit::{http::HttpResponse, wait::until};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Below the relay's default response timeout, and long enough for a busy machine.
const QUICKLY: Duration = Duration::from_secs(30);

fn assert_problem(answer: &HttpResponse, status: u16, code: &str, retry_after: &str) {
    assert_eq!((answer.status, answer.header("adit-error")), (status, Some(code)), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["code"], code);
    assert_eq!(answer.header("retry-after"), Some(retry_after));
}

/// Opens a tunnel to a service that passes each connection to `each`.
async fn with<F>(fixture: &FaultFixture, each: impl Fn(TcpStream) -> F + Send + 'static) -> Tunnel
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(each(tcp));
        }
    });
    fixture.open(Tunnel::http(address).name("shop")).await
}

async fn get(fixture: &FaultFixture) -> std::io::Result<HttpResponse> {
    fixture.consumer().get(HOST, "/").await
}

async fn read_head(tcp: &mut TcpStream) {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") && tcp.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_is_told_and_found_again() {
    let mut fixture = FaultFixture::start("limits: {requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    fixture.assert_answers(1).await;
    let address = fixture.service.address();
    let service = std::mem::replace(&mut fixture.service, adit_testkit::http::Service::start().await);
    drop(service);
    until("its port is closed", || std::net::TcpStream::connect(address).is_err()).await;
    for _ in 0..20 {
        assert_problem(&get(&fixture).await.unwrap(), 502, "service_down", "5");
    }
    fixture.service = adit_testkit::http::Service::start_at(address).await;
    fixture.assert_answers(20).await;
    assert_eq!(fixture.sessions_closed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_slow_gets_its_time_and_no_more() {
    let fixture = FaultFixture::start("limits: {responseTimeout: 4s, requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    let began = Instant::now();
    let answers = (0..20).map(|_| {
        let consumer = fixture.consumer();
        tokio::spawn(async move { consumer.get(HOST, "/hang").await.unwrap() })
    });
    for answer in answers.collect::<Vec<_>>() {
        assert_problem(&answer.await.unwrap(), 504, "service_timeout", "5");
    }
    assert!(began.elapsed() >= Duration::from_secs(4) && began.elapsed() < QUICKLY);
    // The service's time counts to its head: what it says afterwards may take as long as it likes.
    let answer = fixture.consumer().get(HOST, "/drip/4/1500").await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "drip\ndrip\ndrip\ndrip\n"));
    until("no stream is left", || fixture.relay.metric("adit_streams_open") == 0).await;
    until("nor at the service", || fixture.service_connections() <= 4).await;
    fixture.assert_answers(5).await;
    assert_eq!(fixture.sessions_closed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_hangs_up_without_an_answer_is_down() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 100000}").await;
    let _tunnel = with(&fixture, |mut tcp| async move { read_head(&mut tcp).await }).await;
    for _ in 0..10 {
        assert_problem(&get(&fixture).await.unwrap(), 502, "service_down", "5");
    }
    assert_eq!(fixture.sessions_closed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_speak_http_is_told_apart() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 100000}").await;
    let _tunnel = with(&fixture, |mut tcp| async move {
        read_head(&mut tcp).await;
        let _ = tcp.write_all(b"SSH-2.0-something\r\n\r\n").await;
    })
    .await;
    let answer = get(&fixture).await.unwrap();
    assert_eq!((answer.status, answer.header("adit-error")), (502, Some("service_protocol")));
}

/// Every framing, each broken off in the middle: by length, by chunks, and by the connection's end, which a consumer of
/// HTTP/1.0 gets for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 100000}").await;
    for head in ["content-length: 1000", "transfer-encoding: chunked"] {
        let tunnel = with(&fixture, move |mut tcp| async move {
            read_head(&mut tcp).await;
            let part = if head.starts_with('c') { "half" } else { "4\r\nhalf\r\n" };
            let _ = tcp.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{part}").as_bytes()).await;
            // What was sent is on its way before the connection breaks.
            tokio::time::sleep(Duration::from_millis(20)).await;
        })
        .await;
        for consumer in [fixture.consumer(), fixture.tls_consumer(&[b"http/1.1"])] {
            let cut = consumer.get(HOST, "/").await;
            assert!(cut.is_err(), "{head}: {cut:?}");
            let request = format!("GET / HTTP/1.0\r\nhost: {HOST}\r\n\r\n");
            let mut wire = consumer.connect().await.unwrap();
            wire.write_all(request.as_bytes()).await.unwrap();
            let rest = wire.rest().await;
            assert!(rest.is_err(), "{head}, HTTP/1.0: {:?}", rest.map(String::from_utf8));
        }
        drop(tunnel);
        until("the tunnel is closed", || fixture.relay.metric("adit_sessions_open") == 0).await;
    }
}

/// An orderly end looks whole, on HTTP/1.0 too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_whole_looks_whole() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    for path in ["/bytes/300000", "/chunked/300000"] {
        for consumer in [fixture.consumer(), fixture.tls_consumer(&[b"http/1.1"])] {
            let mut wire = consumer.connect().await.unwrap();
            wire.write_all(format!("GET {path} HTTP/1.0\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
            let answer = wire.rest().await.expect("it ends in an orderly way");
            assert!(answer.len() > 300_000, "{path}: {} bytes", answer.len());
        }
    }
}
