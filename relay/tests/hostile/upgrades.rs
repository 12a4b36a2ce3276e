//! Invalid upgrades, and bytes that come before the 101.

use crate::{
    client::{self, EVIL},
    fixture::publish,
    relay_fixture::HOST,
};
use adit_testkit::{
    http::{Http2Connection, Http2Frame, RecordingService, Service, frames::kind},
    wait::until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn an_upgrade_that_cannot_be_is_refused_or_an_ordinary_request() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    let head = |start: &str, fields: &str| format!("{start}\r\nHost: {HOST}\r\n{fields}\r\n");
    let upgrade = "Connection: Upgrade\r\nUpgrade: ";
    let get = "GET / HTTP/1.1";
    let cases = [
        (head(get, &format!("{upgrade}websocket\r\nSec-WebSocket-Key: x\r\n")), 400),
        (head(get, &format!("{upgrade}websocket\r\n")), 400),
        (head(get, &format!("{WEBSOCKET}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")), 400),
        (head("POST / HTTP/1.1", WEBSOCKET), 400),
        (head(get, &format!("{WEBSOCKET}Content-Length: 3\r\n")) + "abc", 400),
        (head(get, &format!("{WEBSOCKET}Transfer-Encoding: chunked\r\n")) + "0\r\n\r\n", 400),
        (head(get, &format!("{upgrade}\r\n")), 400),
        (head(get, &format!("{upgrade}{}\r\n", "x".repeat(65))), 400),
        // These are ordinary requests: an Upgrade may be ignored.
        (
            head(get, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            200,
        ),
        (head("POST / HTTP/1.1", &format!("{upgrade}made-up\r\nContent-Length: 3\r\n")) + "abc", 200),
        (head(get, &format!("{upgrade}made-up\r\nContent-Length: 3\r\n")) + "abc", 200),
        (head(get, "Upgrade: websocket\r\n"), 200),
        (head("GET / HTTP/1.0", WEBSOCKET), 200),
    ];
    for (request, status) in cases {
        let answer = fixture.consumer().send(&request).await.unwrap();
        assert_eq!(answer.status, status, "{request:?}: {}", answer.text());
        let seen = service.requests();
        assert_eq!(seen.len(), usize::from(status == 200), "{request:?}: {seen:?}");
        for seen in seen {
            let seen = seen.to_ascii_lowercase();
            assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{seen:?}");
        }
    }
    assert_eq!(service.broken(), Vec::<String>::new());
}

#[tokio::test]
async fn an_upgrade_that_the_service_ignores_is_answered_by_it() {
    let service = RecordingService::start().await;
    let fixture = publish(service.address()).await;
    let asked = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n{WEBSOCKET}\r\n");
    let answer = fixture.consumer().send(&asked).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "recorded"));
    assert_eq!((answer.header("upgrade"), answer.header("adit-upgrade-ignored")), (None, None));
    assert!(service.requests()[0].to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"));

    // What comes behind it before there is a 101 is a request of its own, and never the service's bytes.
    let mut wire = fixture.consumer().connect().await.unwrap();
    let both = format!("{asked}GET /b HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: spoofed\r\n\r\n");
    wire.write_all(both.as_bytes()).await.unwrap();
    assert_eq!(wire.answer(false).await.unwrap().text(), "recorded");
    let second = wire.answer(false).await;
    let seen = service.requests();
    assert_eq!(seen.len(), 1 + usize::from(second.is_ok()), "{seen:?}");
    assert!(seen.iter().all(|request| !request.contains("spoofed")), "{seen:?}");
    assert_eq!(service.broken(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_upgrade_leaves_the_connection_to_requests() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let mut wire = fixture.consumer().connect().await.unwrap();
    for status in [403, 426, 503] {
        let asked = format!("GET /status/{status} HTTP/1.1\r\nHost: {HOST}\r\n{WEBSOCKET}\r\n");
        assert_eq!(wire.send(asked.as_bytes()).await.unwrap().status, status);
    }
    let asked = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(wire.send(asked.as_bytes()).await.unwrap().text(), "hello");
}

#[tokio::test]
async fn bytes_that_come_with_the_upgrade_reach_the_other_protocol() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let mut wire = fixture.consumer().connect().await.unwrap();
    let asked = format!(
        "GET /upgrade HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: Made-Up/2, other\r\n\r\nearly"
    );
    let answer = wire.send(asked.as_bytes()).await.unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("Made-Up/2")));
    wire.write_all(b" and late").await.unwrap();
    wire.shutdown().await.unwrap();
    let mut echoed = vec![];
    wire.read_to_end(&mut echoed).await.unwrap();
    assert_eq!(echoed, b"early and late");
}

#[tokio::test]
async fn an_upgrade_waits_for_what_the_client_s_first_settings_say() {
    let (_service, fixture, hostile) = client::start().await;
    let (tunnels, streams) =
        (fixture.relay.metric("adit_tunnels_open"), fixture.relay.metric("adit_streams_open"));
    let io = hostile.connect_session(&fixture).await;
    until("its tunnel is open", || fixture.relay.metric("adit_tunnels_open") > tunnels).await;
    let consumer = fixture.consumer();
    let asking = tokio::spawn(async move {
        let mut wire = consumer.connect().await?;
        wire.write_all(format!("GET / HTTP/1.1\r\nHost: {EVIL}\r\n{WEBSOCKET}\r\n").as_bytes()).await?;
        wire.answer(false).await
    });
    until("the request is under way", || fixture.relay.metric("adit_streams_open") > streams).await;
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
    let mut http2 = Http2Connection::server(io, &[(8, 1)]).await.unwrap();
    let control = http2.receive_kind(kind::HEADERS).await.unwrap();
    http2.send(&Http2Frame::headers(control.stream, 0, &[(":status", "200")])).await.unwrap();
    let upgrade = http2.receive_kind(kind::HEADERS).await.unwrap();
    http2.send(&Http2Frame::headers(upgrade.stream, 0, &[(":status", "200")])).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().status, 101);
}
