//! Answers of a client that break the tunnel's protocol, or are odd but whole.

use crate::{
    client::{EVIL, HostileClient, start},
    relay_fixture::{HOST, RelayFixture},
};
use adit_testkit::{
    http::{
        Consumer, Http2Frame,
        frames::{END_HEADERS, END_STREAM, kind},
    },
    wait::{until, until_async},
};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a consumer gets when the client answers its request with these frames, for the stream of the request.
async fn answered(
    fixture: &RelayFixture,
    hostile: &HostileClient,
    answer: impl Fn(u32) -> Vec<u8>,
) -> Result<(u16, Vec<u8>), std::io::Error> {
    let mut http2 = hostile.open_session(fixture, &[(8, 1)]).await;
    let consumer = Consumer::plain(fixture.relay.http());
    let serving = async {
        loop {
            let Ok(frame) = http2.receive().await else { return std::future::pending().await };
            if frame.kind == kind::HEADERS && http2.send_bytes(&answer(frame.stream)).await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    tokio::select! {
        answer = consumer.get(EVIL, "/") => answer.map(|answer| (answer.status, answer.body)),
        () = serving => unreachable!("it serves until the consumer has its answer"),
    }
}

/// What is wrong with an answer, and its frames for a stream.
type Case = (String, Box<dyn Fn(u32) -> Vec<u8>>);

fn case(what: impl Into<String>, frames: impl Fn(u32) -> Vec<u8> + 'static) -> Case {
    (what.into(), Box::new(frames))
}

fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    Http2Frame::headers(stream, flags, fields).bytes()
}

fn data(stream: u32, flags: u8, bytes: &str) -> Vec<u8> {
    Http2Frame::new(kind::DATA, flags, stream, bytes).bytes()
}

/// One frame of this kind on the stream.
fn frame(kind: u8, flags: u8, payload: Vec<u8>) -> impl Fn(u32) -> Vec<u8> {
    move |stream| Http2Frame::new(kind, flags, stream, payload.clone()).bytes()
}

/// One frame of this kind on the connection.
fn connection_frame(kind: u8, payload: Vec<u8>) -> impl Fn(u32) -> Vec<u8> {
    move |_| Http2Frame::new(kind, 0, 0, payload.clone()).bytes()
}

fn wrong_heads() -> Vec<Case> {
    let mut cases = vec![
        case("no status", |s| head(s, END_STREAM, &[("a", "b")])),
        case("a body without a head", |s| data(s, END_STREAM, "hi")),
        case("a final answer that is interim", |s| head(s, END_STREAM, &[(":status", "103")])),
        case("headers beyond 64 KiB", large_head),
    ];
    for status in ["099", "0200", "20", "abc", "", "1000", "-1", "200 OK", "101", "200\r\nx: y"] {
        let frames = move |s| head(s, END_STREAM, &[(":status", status)]);
        cases.push(case(format!("status {status:?}"), frames));
    }
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("X-Upper", "a"),
        ("a b", "c"),
        ("", "c"),
        ("x-a", "b\r\nset-cookie: c=d"),
        ("x-a", "b\0c"),
        (":unknown", "x"),
        (":status", "500"),
    ] {
        let frames =
            move |s| [head(s, 0, &[(":status", "200"), (name, value)]), data(s, END_STREAM, "hi")].concat();
        cases.push(case(format!("{name:?}: {value:?}"), frames));
    }
    cases
}

/// 4,000 fields, in one frame of headers and its continuations.
fn large_head(stream: u32) -> Vec<u8> {
    let fields: Vec<(&str, &str)> = [(":status", "200")].into_iter().chain([("a", "b"); 4000]).collect();
    let mut first = Http2Frame::headers(stream, END_STREAM, &fields);
    let rest = first.payload.split_off(15_000);
    first.flags = END_STREAM;
    let mut bytes = first.bytes();
    let chunks = rest.chunks(15_000).collect::<Vec<_>>();
    for (n, chunk) in chunks.iter().enumerate() {
        let flags = if n + 1 == chunks.len() { END_HEADERS } else { 0 };
        bytes.extend(Http2Frame::new(kind::CONTINUATION, flags, stream, *chunk).bytes());
    }
    bytes
}

fn wrong_frames() -> Vec<Case> {
    let mut cases = vec![
        case("GOAWAY", connection_frame(kind::GOAWAY, vec![0, 0, 0, 1, 0, 0, 0, 2])),
        case("PUSH_PROMISE", frame(kind::PUSH_PROMISE, END_HEADERS, vec![0, 0, 0, 2, 0x82])),
        case("a stream of its own", |_| head(2, END_STREAM, &[(":status", "200")])),
        case("DATA on an idle stream", |_| data(99, 0, "hi")),
        case("a large frame", frame(kind::DATA, 0, vec![0; 100_000])),
        case("a window beyond 2^31", connection_frame(kind::WINDOW_UPDATE, vec![0x7f, 0xff, 0xff, 0xff])),
    ];
    for code in [1_u32, 2, 5, 7, 8, 11, 13, 0xffff_ffff] {
        let reset = frame(kind::RST_STREAM, 0, code.to_be_bytes().to_vec());
        cases.push(case(format!("RST_STREAM {code}"), reset));
    }
    cases
}

#[tokio::test]
async fn an_answer_that_breaks_a_rule_is_a_502_or_503() {
    let (_service, fixture, hostile) = start().await;
    for (what, frames) in wrong_heads().into_iter().chain(wrong_frames()) {
        match answered(&fixture, &hostile, frames).await {
            Ok((status, body)) => {
                assert!(matches!(status, 502 | 503), "{what}: {status} {}", String::from_utf8_lossy(&body));
            }
            Err(error) => panic!("{what}: {error}"),
        }
        fixture.assert_serves().await;
    }
}

#[tokio::test]
async fn an_answer_that_ends_wrongly_is_visibly_broken() {
    let (_service, fixture, hostile) = start().await;
    let ok = |stream, more: &[(&str, &str)]| head(stream, 0, &[&[(":status", "200")], more].concat());
    let cases = [
        case("less than its length", move |s| {
            [ok(s, &[("content-length", "10")]), data(s, END_STREAM, "hi")].concat()
        }),
        case("more than its length", move |s| {
            [ok(s, &[("content-length", "1")]), data(s, END_STREAM, "hi")].concat()
        }),
        case("two lengths", move |s| {
            let fields = [("content-length", "2"), ("content-length", "1")];
            [ok(s, &fields), data(s, END_STREAM, "hi")].concat()
        }),
        case("a reset", move |s| {
            let reset = Http2Frame::new(kind::RST_STREAM, 0, s, 8_u32.to_be_bytes()).bytes();
            [ok(s, &[]), data(s, 0, "hi"), reset].concat()
        }),
    ];
    for (what, frames) in cases {
        match answered(&fixture, &hostile, frames).await {
            Ok((status, body)) => {
                assert!(matches!(status, 502 | 503), "{what}: {status} {}", String::from_utf8_lossy(&body));
            }
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{what}"),
        }
    }
    fixture.assert_serves().await;
}

#[tokio::test]
async fn an_answer_that_is_odd_but_whole_arrives_whole() {
    let (_service, fixture, hostile) = start().await;
    fixture.assert_serves().await;
    let before = fixture.memory_mib();
    let ok = [(":status", "200")];
    // h2 takes 100 on a connection, and ends it at the next one; a client of Adit's sends none.
    let empty = |s| data(s, 0, "").repeat(50);
    let (status, body) = answered(&fixture, &hostile, |s| {
        [head(s, 0, &ok), empty(s), data(s, 0, "h"), empty(s), data(s, END_STREAM, "i")].concat()
    })
    .await
    .unwrap();
    assert_eq!((status, &body[..]), (200, &b"hi"[..]), "empty DATA");
    let interim = |s| head(s, 0, &[(":status", "103"), ("link", "</style.css>")]).repeat(10_000);
    let (status, body) =
        answered(&fixture, &hostile, |s| [interim(s), head(s, 0, &ok), data(s, END_STREAM, "hi")].concat())
            .await
            .unwrap();
    assert_eq!((status, &body[..]), (200, &b"hi"[..]), "a flood of interim answers");
    let (status, body) = answered(&fixture, &hostile, |s| {
        let trailers = head(s, END_STREAM, &[("x-sum", "1"), ("content-length", "5"), ("adit-error", "x")]);
        [head(s, 0, &ok), data(s, 0, "hi"), trailers].concat()
    })
    .await
    .unwrap();
    assert_eq!((status, &body[..]), (200, &b"hi"[..]), "trailers that say too much");
    let pings = Http2Frame::new(kind::PING, 0, 0, vec![1; 8]).bytes().repeat(10_000);
    let settings =
        Http2Frame::new(kind::SETTINGS, 0, 0, vec![0, 1, 255, 255, 255, 255]).bytes().repeat(10_000);
    let (status, _) = answered(&fixture, &hostile, |s| {
        [pings.clone(), settings.clone(), head(s, 0, &ok), data(s, END_STREAM, "hi")].concat()
    })
    .await
    .unwrap();
    assert_eq!(status, 200, "pings and settings");
    let grown = fixture.memory_mib().saturating_sub(before);
    assert!(grown < 64, "the relay has {grown} MiB more");
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_harms_itself_alone() {
    let (_service, fixture, hostile) = start().await;
    let sessions = fixture.relay.metric("adit_sessions_open");
    let http2 = hostile.open_session(&fixture, &[(4, 0x7fff_ffff)]).await;
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let consumer = Consumer::plain(fixture.relay.http());
            let head = format!("POST / HTTP/1.1\r\nHost: {EVIL}\r\nContent-Length: 1000000\r\n\r\n");
            tokio::spawn(async move { consumer.send([head.into_bytes(), vec![0; 1_000_000]].concat()).await })
        })
        .collect();
    for _ in 0..20 {
        fixture.assert_serves().await;
    }
    // It answers no ping: its session ends, and so do its consumers' requests.
    for answer in flood {
        if let Ok(answer) = answer.await.unwrap() {
            assert!(matches!(answer.status, 502..=504), "{}", answer.status);
        }
    }
    until("its session is gone", || fixture.relay.metric("adit_sessions_open") == sessions).await;
    drop(http2);
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_client_that_goes_away_politely_gets_no_more_requests() {
    let (_service, fixture, hostile) = start().await;
    let tunnels = fixture.relay.metric("adit_tunnels_open");
    let mut http2 = hostile.open_session(&fixture, &[]).await;
    until("its tunnel is open", || fixture.relay.metric("adit_tunnels_open") > tunnels).await;
    http2.send(&Http2Frame::new(kind::GOAWAY, 0, 0, vec![0; 8])).await.unwrap();
    let consumer = Consumer::plain(fixture.relay.http());
    let is_known = AtomicBool::new(false);
    until_async("the tunnel is offline", || async {
        let answer = consumer.get(EVIL, "/").await.unwrap();
        // The relay counts a tunnel as open a moment before it is in the table.
        let is_expected =
            matches!(answer.status, 502 | 503) || (answer.status == 404 && !is_known.load(Ordering::Relaxed));
        assert!(is_expected, "{answer:?}");
        is_known.fetch_or(answer.status != 404, Ordering::Relaxed);
        answer.header("adit-error") == Some("tunnel_offline")
    })
    .await;
    assert_eq!(fixture.consumer().get(HOST, "/").await.unwrap().status, 200);
}
