//! Bodies that break off, are too long, or have forbidden trailers.

use crate::{
    fixture::{publish, request},
    relay_fixture::{HOST, RelayFixture, region},
};
use adit_testkit::{
    http::{RecordingService, Service},
    wait::until,
};
use bytes::Bytes;
use http::HeaderMap;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn trailers(name: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, "x".parse().unwrap());
    trailers
}

#[tokio::test]
async fn a_trailer_that_would_change_the_request_ends_it() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    let mut http2 = fixture.http2().await;
    for (name, status) in [("host", 400), ("x-forwarded-for", 400), ("adit-tunnel", 400), ("x-sum", 200)] {
        http2 = http2.ready().await.unwrap();
        let head = request("POST", "/").header("trailer", name).body(()).unwrap();
        let (response, mut body) = http2.send_request(head, false).unwrap();
        body.send_data(Bytes::from_static(b"body"), false).unwrap();
        body.send_trailers(trailers(name)).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), status, "{name}");
        let seen = service.requests();
        assert_eq!(seen.len(), usize::from(status == 200), "{name}: {seen:?}");
        assert!(seen.iter().all(|request| request.ends_with("0\r\nx-sum: x\r\n\r\n")), "{seen:?}");
    }
}

#[tokio::test]
async fn an_answer_breaks_off_at_forbidden_request_trailers() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let mut http2 = fixture.http2().await;
    let (response, mut body) = http2.send_request(request("POST", "/echo").body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"body"), false).unwrap();
    let mut answer = response.await.unwrap().into_body();
    assert_eq!(&answer.data().await.unwrap().unwrap()[..], b"body");
    body.send_trailers(trailers("content-length")).unwrap();
    assert!(answer.data().await.unwrap().is_err(), "it must not look whole");

    let mut wire = fixture.consumer().connect().await.unwrap();
    let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    wire.write_all(head.as_bytes()).await.unwrap();
    while wire.line().await.unwrap().unwrap() != "x" {}
    wire.write_all(b"0\r\nHost: other\r\n\r\n").await.unwrap();
    let rest = wire.rest().await;
    assert!(!rest.is_ok_and(|rest| rest.ends_with(b"0\r\n\r\n")), "it must not look whole");
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_where_the_limit_is() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "x".repeat(64 * 1024));
    let head = format!("POST /upload HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let fits = fixture.consumer().send(format!("{head}{}0\r\n\r\n", chunk.repeat(16))).await.unwrap();
    assert_eq!((fits.status, fits.json()["bytes"].as_u64()), (200, Some(1024 * 1024)));
    let answer = fixture.consumer().send(format!("{head}{}0\r\n\r\n", chunk.repeat(17))).await.unwrap();
    assert_eq!((answer.status, answer.header("adit-error")), (413, Some("body_too_large")));
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_request() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    for (framing, body) in [("Content-Length: 10", "abc"), ("Transfer-Encoding: chunked", "3\r\nabc\r\n")] {
        let mut wire = fixture.consumer().connect().await.unwrap();
        let request = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\n{body}");
        wire.write_all(request.as_bytes()).await.unwrap();
        until("the service has the start of the request", || service.unfinished() > 0).await;
        wire.shutdown().await.unwrap();
        if let Ok(answer) = wire.answer(false).await {
            assert_eq!(answer.status, 400);
        }
        // The connection to the service ends within the request.
        until("the service's connection has ended", || !service.broken().is_empty()).await;
    }
    assert_eq!(service.requests(), Vec::<String>::new());
    fixture.assert_serves().await;
}

#[tokio::test]
async fn an_upload_that_goes_on_may_take_longer_than_an_answer() {
    let service = Service::start().await;
    let region = region().with("limits: {requestsPerSecond: 100000, responseTimeout: 4s}");
    let fixture = RelayFixture::publishing(region, service.address()).await;
    let mut wire = fixture.consumer().connect().await.unwrap();
    let head = format!("POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 25\r\n\r\n");
    wire.write_all(head.as_bytes()).await.unwrap();
    for byte in 0..25 {
        wire.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let answer = wire.answer(false).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["bytes"], 25);
    let slow = fixture.consumer().get(HOST, "/hang").await.unwrap();
    assert_eq!((slow.status, slow.header("adit-error")), (504, Some("service_timeout")));
}
