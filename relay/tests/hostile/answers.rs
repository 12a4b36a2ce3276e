//! Answers of a client that break the tunnel's protocol, or are odd but whole.

use crate::client::{EVIL, Foe, start};
use crate::place::{HOST, Place};
use adit_testkit::http::{
    Consumer, Http2Frame,
    frames::{END_STREAM, kind},
};
use std::time::Duration;

/// What a consumer gets when the client answers its request with these frames, for the stream of the request.
async fn answered(
    place: &Place,
    foe: &Foe,
    answer: impl Fn(u32) -> Vec<u8>,
) -> Result<(u16, Vec<u8>), std::io::Error> {
    let mut http2 = foe.frames(place, &[(8, 1)]).await;
    let consumer = Consumer::plain(place.relay.http());
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

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table: one bad answer after another")]
async fn an_answer_that_breaks_a_rule_is_a_502_or_visibly_broken() {
    let (_service, place, foe) = start().await;
    let head = |stream, flags, fields: &[(&str, &str)]| Http2Frame::headers(stream, flags, fields).bytes();
    let data = |stream, flags, bytes: &str| Http2Frame::new(kind::DATA, flags, stream, bytes).bytes();
    let with = |name: &'static str, value: &'static str| {
        move |stream| {
            [head(stream, 0, &[(":status", "200"), (name, value)]), data(stream, END_STREAM, "hi")].concat()
        }
    };
    let many: Vec<(&str, &str)> = [(":status", "200")].into_iter().chain([("a", "b"); 4000]).collect();
    type Answer<'a> = Box<dyn Fn(u32) -> Vec<u8> + 'a>;
    let mut bad: Vec<(String, Answer<'_>)> = vec![];
    for status in ["099", "0200", "20", "abc", "", "1000", "-1", "200 OK", "101", "200\r\nx: y"] {
        bad.push((
            format!("status {status:?}"),
            Box::new(move |s| head(s, END_STREAM, &[(":status", status)])),
        ));
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
        bad.push((format!("{name:?}: {value:?}"), Box::new(with(name, value))));
    }
    bad.push(("no status".into(), Box::new(|s| head(s, END_STREAM, &[("a", "b")]))));
    bad.push(("a body without a head".into(), Box::new(|s| data(s, END_STREAM, "hi"))));
    bad.push((
        "a final answer that is interim".into(),
        Box::new(|s| head(s, END_STREAM, &[(":status", "103")])),
    ));
    bad.push((
        "headers beyond 64 KiB".into(),
        Box::new(|s| {
            let mut frame = Http2Frame::headers(s, END_STREAM, &many);
            let rest = frame.payload.split_off(15_000);
            frame.flags = END_STREAM;
            let rest = rest.chunks(15_000).collect::<Vec<_>>();
            let mut bytes = frame.bytes();
            for (n, chunk) in rest.iter().enumerate() {
                let flags = if n + 1 == rest.len() { 4 } else { 0 };
                bytes.extend(Http2Frame::new(kind::CONTINUATION, flags, s, *chunk).bytes());
            }
            bytes
        }),
    ));
    for code in [1_u32, 2, 5, 7, 8, 11, 13, 0xffff_ffff] {
        bad.push((
            format!("RST_STREAM {code}"),
            Box::new(move |s| Http2Frame::new(kind::RST_STREAM, 0, s, code.to_be_bytes()).bytes()),
        ));
    }
    bad.push((
        "GOAWAY".into(),
        Box::new(|_| Http2Frame::new(kind::GOAWAY, 0, 0, vec![0, 0, 0, 1, 0, 0, 0, 2]).bytes()),
    ));
    bad.push((
        "PUSH_PROMISE".into(),
        Box::new(|s| Http2Frame::new(kind::PUSH_PROMISE, 4, s, vec![0, 0, 0, 2, 0x82]).bytes()),
    ));
    bad.push(("a stream of its own".into(), Box::new(|_| head(2, END_STREAM, &[(":status", "200")]))));
    bad.push(("DATA on an idle stream".into(), Box::new(|_| data(99, 0, "hi"))));
    bad.push((
        "a large frame".into(),
        Box::new(|s| Http2Frame::new(kind::DATA, 0, s, vec![0; 100_000]).bytes()),
    ));
    bad.push((
        "a window beyond 2^31".into(),
        Box::new(|_| Http2Frame::new(kind::WINDOW_UPDATE, 0, 0, 0x7fff_ffff_u32.to_be_bytes()).bytes()),
    ));
    for (what, answer) in bad {
        match answered(&place, &foe, answer).await {
            Ok((status, body)) => {
                assert!(matches!(status, 502 | 503), "{what}: {status} {}", String::from_utf8_lossy(&body));
            }
            Err(error) => panic!("{what}: {error}"),
        }
        place.still_serves().await;
    }
    // These begin well: the consumer must see that they do not end so.
    let mut broken: Vec<(&str, Answer<'_>)> = vec![];
    broken.push((
        "less than its length",
        Box::new(|s| {
            [head(s, 0, &[(":status", "200"), ("content-length", "10")]), data(s, END_STREAM, "hi")].concat()
        }),
    ));
    broken.push((
        "more than its length",
        Box::new(|s| {
            [head(s, 0, &[(":status", "200"), ("content-length", "1")]), data(s, END_STREAM, "hi")].concat()
        }),
    ));
    broken.push((
        "two lengths",
        Box::new(|s| {
            let head = head(s, 0, &[(":status", "200"), ("content-length", "2"), ("content-length", "1")]);
            [head, data(s, END_STREAM, "hi")].concat()
        }),
    ));
    broken.push((
        "a reset",
        Box::new(|s| {
            let reset = Http2Frame::new(kind::RST_STREAM, 0, s, 8_u32.to_be_bytes()).bytes();
            [head(s, 0, &[(":status", "200")]), data(s, 0, "hi"), reset].concat()
        }),
    ));
    for (what, answer) in broken {
        match answered(&place, &foe, answer).await {
            Ok((status, body)) => {
                assert!(matches!(status, 502 | 503), "{what}: {status} {}", String::from_utf8_lossy(&body));
            }
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{what}"),
        }
    }
    place.still_serves().await;
}

#[tokio::test]
async fn an_answer_that_is_odd_but_whole_arrives_whole() {
    let (_service, place, foe) = start().await;
    place.still_serves().await;
    let before = place.memory();
    let head = |stream, flags, fields: &[(&str, &str)]| Http2Frame::headers(stream, flags, fields).bytes();
    let data = |stream, flags, bytes: &str| Http2Frame::new(kind::DATA, flags, stream, bytes).bytes();
    let ok = [(":status", "200")];
    // h2 takes 100 on a connection, and ends it at the next one; a client of Adit's sends none.
    let empty = |s| data(s, 0, "").repeat(50);
    let (status, body) = answered(&place, &foe, |s| {
        [head(s, 0, &ok), empty(s), data(s, 0, "h"), empty(s), data(s, END_STREAM, "i")].concat()
    })
    .await
    .unwrap();
    assert_eq!((status, &body[..]), (200, &b"hi"[..]), "empty DATA");
    let interim = |s| head(s, 0, &[(":status", "103"), ("link", "</style.css>")]).repeat(10_000);
    let (status, body) =
        answered(&place, &foe, |s| [interim(s), head(s, 0, &ok), data(s, END_STREAM, "hi")].concat())
            .await
            .unwrap();
    assert_eq!((status, &body[..]), (200, &b"hi"[..]), "a flood of interim answers");
    let (status, body) = answered(&place, &foe, |s| {
        let trailers = head(s, END_STREAM, &[("x-sum", "1"), ("content-length", "5"), ("adit-error", "x")]);
        [head(s, 0, &ok), data(s, 0, "hi"), trailers].concat()
    })
    .await
    .unwrap();
    assert_eq!((status, &body[..]), (200, &b"hi"[..]), "trailers that say too much");
    let pings = Http2Frame::new(kind::PING, 0, 0, vec![1; 8]).bytes().repeat(10_000);
    let settings =
        Http2Frame::new(kind::SETTINGS, 0, 0, vec![0, 1, 255, 255, 255, 255]).bytes().repeat(10_000);
    let (status, _) = answered(&place, &foe, |s| {
        [pings.clone(), settings.clone(), head(s, 0, &ok), data(s, END_STREAM, "hi")].concat()
    })
    .await
    .unwrap();
    assert_eq!(status, 200, "pings and settings");
    let grown = place.memory().saturating_sub(before);
    assert!(grown < 64, "the relay has {grown} MiB more");
    place.still_serves().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_harms_itself_alone() {
    let (_service, place, foe) = start().await;
    let sessions = place.number("adit_sessions_open");
    let http2 = foe.frames(&place, &[(4, 0x7fff_ffff)]).await;
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let consumer = Consumer::plain(place.relay.http());
            let head = format!("POST / HTTP/1.1\r\nHost: {EVIL}\r\nContent-Length: 1000000\r\n\r\n");
            tokio::spawn(async move { consumer.send([head.into_bytes(), vec![0; 1_000_000]].concat()).await })
        })
        .collect();
    for _ in 0..20 {
        place.still_serves().await;
    }
    // It answers no ping: its session ends, and so do its consumers' requests.
    for answer in flood {
        if let Ok(answer) = answer.await.unwrap() {
            assert!(matches!(answer.status, 502..=504), "{}", answer.status);
        }
    }
    place.wait("its session is gone", |place| place.number("adit_sessions_open") == sessions).await;
    drop(http2);
    place.still_serves().await;
}

#[tokio::test]
async fn a_client_that_goes_away_politely_gets_no_more_requests() {
    let (_service, place, foe) = start().await;
    let tunnels = place.number("adit_tunnels_open");
    let mut http2 = foe.frames(&place, &[]).await;
    place.wait("its tunnel is open", |place| place.number("adit_tunnels_open") > tunnels).await;
    http2.send(&Http2Frame::new(kind::GOAWAY, 0, 0, vec![0; 8])).await.unwrap();
    let consumer = Consumer::plain(place.relay.http());
    let end = std::time::Instant::now() + Duration::from_secs(30);
    let mut known = false;
    loop {
        let answer = consumer.get(EVIL, "/").await.unwrap();
        // The relay counts a tunnel as open a moment before it is in the table.
        assert!(matches!(answer.status, 502 | 503) || (!known && answer.status == 404), "{}", answer.status);
        known |= answer.status != 404;
        if answer.header("adit-error") == Some("tunnel_offline") {
            break;
        }
        assert!(std::time::Instant::now() < end, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(place.plain().get(HOST, "/").await.unwrap().status, 200);
}
