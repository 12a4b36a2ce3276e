//! Connections that say nothing, or say it slowly: the relay gives them up, and serves everybody else meanwhile.

use crate::place::{HOST, Place, connect, get, tls};
use adit_testkit::http::{Http2, Http2Frame, Service, Wire};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Reads until the connection has ended; answers with what came.
async fn ended(what: &str, mut io: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = vec![];
    let reading = async { while let Ok(1..) = io.read_buf(&mut bytes).await {} };
    timeout(Duration::from_secs(60), reading)
        .await
        .unwrap_or_else(|_| panic!("{what} is open after a minute"));
    bytes
}

async fn say(mut wire: Wire, bytes: &[u8]) -> Wire {
    wire.write_all(bytes).await.unwrap();
    wire.flush().await.unwrap();
    wire
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table: one case after another")]
async fn a_connection_that_says_nothing_or_half_of_it_is_given_up() {
    let service = Service::start().await;
    let place = Place::start(service.address()).await;
    let (http, https) = (place.relay.http(), place.relay.https());
    let half = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nA: ");
    let one = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let ca = place.region.ca();
    let client = async || tls(&ca, b"adit/1", HOST, TcpStream::connect(https).await.unwrap()).await.unwrap();
    let (h1, h2) = (place.tls(&[b"http/1.1"]), place.tls(&[b"h2"]));

    let begun_hello = {
        let mut io = client().await;
        io.write_all(b"\0\0\x10\0{\"versions\"").await.unwrap();
        io.flush().await.unwrap();
        io
    };
    let headers = Http2Frame::headers(1, 1, &get("/")).bytes();
    // All but the last byte of a frame of headers.
    let half_frame = {
        let mut http2 = place.frames(&[]).await;
        http2.send_bytes(&headers[..headers.len() - 1]).await.unwrap();
        http2
    };
    let no_end = {
        let mut http2 = place.frames(&[]).await;
        let mut frame = Http2Frame::headers(1, 1, &get("/"));
        frame.flags = 1;
        http2.send(&frame).await.unwrap();
        http2
    };
    let idle_http2 = place.frames(&[]).await;
    let http2_ends = async |what: &str, mut http2: Http2<Wire>| {
        let ends = async { http2.ends().await || http2.ends().await };
        assert!(ends.await, "{what} is open after a minute");
    };
    let trickle = async {
        let mut wire = connect(http).await;
        let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nA: {}\r\n\r\n", "x".repeat(1000));
        for byte in head.bytes() {
            if wire.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("a head may take 50 s");
    };
    let serves = async {
        for _ in 0..20 {
            place.still_serves().await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    let kept = async {
        // A connection is kept for the next request, and ends when none comes.
        let mut wire = connect(http).await;
        assert_eq!(wire.send(one.as_bytes()).await.unwrap().status, 200);
        ended("a kept connection", wire).await;
    };
    tokio::join!(
        async { ended("a silent connection", connect(http).await).await },
        async { ended("half a head", say(connect(http).await, half.as_bytes()).await).await },
        async { ended("a silent TLS connection", connect(https).await).await },
        async {
            ended("half a ClientHello", say(connect(https).await, b"\x16\x03\x01\x02\0\x01").await).await
        },
        async { ended("a silent consumer", h1.connect().await.unwrap()).await },
        async { ended("half a head by TLS", say(h1.connect().await.unwrap(), half.as_bytes()).await).await },
        async { ended("no preface", h2.connect().await.unwrap()).await },
        async { ended("half a preface", say(h2.connect().await.unwrap(), b"PRI * HT").await).await },
        async { ended("no hello", client().await).await },
        async { ended("half a hello", begun_hello).await },
        http2_ends("no request", idle_http2),
        http2_ends("half a frame", half_frame),
        http2_ends("headers without an end", no_end),
        trickle,
        kept,
        serves,
    );
    place.wait("all connections are gone", |place| place.number("adit_connections_open") == 0).await;
}
