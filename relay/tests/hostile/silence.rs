//! Connections that send nothing, or send it slowly: the relay closes them, and serves all others meanwhile.

use crate::{
    fixture::{connect, get, publish, tls},
    relay_fixture::{HOST, RelayFixture},
};
use adit_testkit::{
    http::{Consumer, ConsumerConnection, Http2Connection, Http2Frame, Service},
    wait::until,
};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A connection on which `first` was sent and nothing more follows.
struct Silent {
    what: &'static str,
    io: Box<dyn Io>,
}

impl Silent {
    async fn after(what: &'static str, first: &[u8], mut io: impl Io + 'static) -> Self {
        io.write_all(first).await.unwrap();
        io.flush().await.unwrap();
        Self { what, io: Box::new(io) }
    }

    /// Reads until the relay has closed the connection.
    async fn until_closed(mut self) {
        let reading = async { while let Ok(1..) = self.io.read(&mut [0; 4096]).await {} };
        let closed = timeout(Duration::from_secs(60), reading).await;
        assert!(closed.is_ok(), "{} is open after a minute", self.what);
    }
}

/// One connection for each point at which a consumer or a client can fall silent.
async fn silent_connections(fixture: &RelayFixture) -> Vec<Silent> {
    let (http, https) = (fixture.relay.http(), fixture.relay.https());
    let half = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nA: ");
    let ca = fixture.region.ca();
    let client = async || tls(&ca, b"adit/1", HOST, TcpStream::connect(https).await.unwrap()).await.unwrap();
    let h1 = async || fixture.tls_consumer(&[b"http/1.1"]).connect().await.unwrap();
    let h2 = async || fixture.tls_consumer(&[b"h2"]).connect().await.unwrap();
    vec![
        Silent::after("a silent connection", b"", connect(http).await).await,
        Silent::after("half a head", half.as_bytes(), connect(http).await).await,
        Silent::after("a silent TLS connection", b"", connect(https).await).await,
        Silent::after("half a ClientHello", b"\x16\x03\x01\x02\0\x01", connect(https).await).await,
        Silent::after("a silent consumer by TLS", b"", h1().await).await,
        Silent::after("half a head by TLS", half.as_bytes(), h1().await).await,
        Silent::after("no HTTP/2 preface", b"", h2().await).await,
        Silent::after("half an HTTP/2 preface", b"PRI * HT", h2().await).await,
        Silent::after("no hello", b"", client().await).await,
        Silent::after("half a hello", b"\0\0\x10\0{\"versions\"", client().await).await,
    ]
}

/// HTTP/2 connections that fall silent after their preface.
async fn silent_http2_connections(
    fixture: &RelayFixture,
) -> Vec<(&'static str, Http2Connection<ConsumerConnection>)> {
    let headers = Http2Frame::headers(1, 1, &get("/")).bytes();
    // All but the last byte of a frame of headers.
    let mut half_frame = fixture.http2_frames(&[]).await;
    half_frame.send_bytes(&headers[..headers.len() - 1]).await.unwrap();
    let mut no_end = fixture.http2_frames(&[]).await;
    let mut frame = Http2Frame::headers(1, 1, &get("/"));
    frame.flags = 1;
    no_end.send(&frame).await.unwrap();
    vec![
        ("no request", fixture.http2_frames(&[]).await),
        ("half a frame", half_frame),
        ("headers without an end", no_end),
    ]
}

/// Sends a head byte by byte, until the relay closes the connection.
async fn trickle(fixture: &RelayFixture) {
    let mut wire = connect(fixture.relay.http()).await;
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nA: {}\r\n\r\n", "x".repeat(1000));
    for byte in head.bytes() {
        if wire.write_all(&[byte]).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("a head may take 50 s");
}

/// A connection is kept for the next request, and closed when none comes.
async fn keep(consumer: Consumer) {
    let mut wire = consumer.connect().await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(wire.send(request.as_bytes()).await.unwrap().status, 200);
    Silent::after("a kept connection", b"", wire).await.until_closed().await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let silent = silent_connections(&fixture).await.into_iter().map(Silent::until_closed);
    let http2_ends = async |(what, mut http2): (&str, Http2Connection<ConsumerConnection>)| {
        assert!(http2.ends().await || http2.ends().await, "{what} is open after a minute");
    };
    let http2 = silent_http2_connections(&fixture).await.into_iter().map(http2_ends);
    let serves = async {
        for _ in 0..20 {
            fixture.assert_serves().await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(join_all(silent), join_all(http2), trickle(&fixture), keep(fixture.consumer()), serves);
    until("all connections are gone", || fixture.relay.metric("adit_connections_open") == 0).await;
}
