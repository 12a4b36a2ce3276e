//! TCP connections through the client to a service.

use crate::relay::{Relay, Session, event, read_all, soon, tcp};
use adit::event::EventKind;
use adit_mux::{RecvStream, ResetReason, SendStream};
use adit_testkit::port::Port;
use bytes::Bytes;
use http::Request;
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn service() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn connect(session: &Session) -> Request<()> {
    Request::connect("adit.localhost:20022")
        .header("adit-tunnel", &session.tunnel)
        .header("adit-consumer", "203.0.113.9:4711")
        .body(())
        .unwrap()
}

/// One connection through the tunnel: the relay's end and the service's end.
async fn connection(session: &Session, listener: &TcpListener) -> (SendStream, RecvStream, TcpStream) {
    let (response, to) = session.open(connect(session), false).await;
    let (io, _) = soon(listener.accept()).await.unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    (to, response.into_body(), io)
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_side_ends_by_itself() {
    let (listener, mut relay) = (service().await, Relay::start().await);
    let (_client, mut events, session) = relay.serve(tcp(listener.local_addr().unwrap())).await;
    let (mut to, from, mut io) = connection(&session, &listener).await;
    event(&mut events, |what| {
        matches!(what, EventKind::Connection(e) if e.duration_ms.is_none()).then_some(())
    })
    .await;
    to.send_data(Bytes::from_static(b"request"), true).unwrap();
    let mut got = vec![];
    soon(io.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"request");
    io.write_all(b"answer after the end of the request").await.unwrap();
    io.shutdown().await.unwrap();
    assert_eq!(soon(read_all(from)).await.unwrap(), b"answer after the end of the request");
    let exchange = event(&mut events, |what| match what {
        EventKind::Connection(exchange) if exchange.duration_ms.is_some() => Some(exchange.clone()),
        _ => None,
    })
    .await;
    assert_eq!((exchange.bytes_in, exchange.bytes_out), (7, 35));
    assert_eq!(exchange.consumer.as_deref(), Some("203.0.113.9:4711"));
    assert_eq!((exchange.method, exchange.status), (None, None));
}

#[tokio::test]
async fn a_reset_by_the_service_is_a_reset_for_the_consumer() {
    let (listener, mut relay) = (service().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(tcp(listener.local_addr().unwrap())).await;
    let (_to, from, io) = connection(&session, &listener).await;
    io.set_zero_linger().unwrap();
    drop(io);
    let error = soon(read_all(from)).await.unwrap_err();
    assert!(error.is_reset() && error.reason() != Some(ResetReason::NoError), "{error}");
}

#[tokio::test]
async fn a_reset_by_the_consumer_is_a_reset_for_the_service() {
    let (listener, mut relay) = (service().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(tcp(listener.local_addr().unwrap())).await;
    let (mut to, _from, mut io) = connection(&session, &listener).await;
    to.send_data(Bytes::from_static(b"half a mess"), false).unwrap();
    let mut got = [0; 11];
    soon(io.read_exact(&mut got)).await.unwrap();
    to.send_reset(ResetReason::Cancel);
    let error = soon(io.read(&mut got)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_session_that_breaks_is_a_reset_for_the_service() {
    let (listener, mut relay) = (service().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(tcp(listener.local_addr().unwrap())).await;
    let (_to, _from, mut io) = connection(&session, &listener).await;
    drop(session);
    let error = soon(io.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_service_that_is_down_is_told() {
    let (port, mut relay) = (Port::take(), Relay::start().await);
    let (_client, _events, session) = relay.serve(tcp(port.address())).await;
    let (response, _to) = session.open(connect(&session), false).await;
    let response = soon(response).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["adit-error"]),
        (502, &"service_down".parse().unwrap())
    );
}

#[tokio::test]
async fn a_reader_that_stalls_stops_its_writer_and_no_one_else() {
    let (listener, mut relay) = (service().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(tcp(listener.local_addr().unwrap())).await;
    let (_to, stalled, mut io) = connection(&session, &listener).await;
    let writer = tokio::spawn(async move {
        let chunk = vec![7; 64 * 1024];
        for _ in 0..1024 {
            io.write_all(&chunk).await.unwrap();
        }
    });
    let (mut to, from, mut other) = connection(&session, &listener).await;
    for _ in 0..100 {
        to.send_data(Bytes::from_static(b"ping"), false).unwrap();
        let mut got = [0; 4];
        soon(other.read_exact(&mut got)).await.unwrap();
        other.write_all(&got).await.unwrap();
    }
    assert!(!writer.is_finished(), "64 MiB wait nowhere");
    drop(other);
    assert_eq!(soon(read_all(from)).await.unwrap().len(), 400);
    assert_eq!(soon(read_all(stalled)).await.unwrap().len(), 64 * 1024 * 1024);
    soon(writer).await.unwrap();
}
