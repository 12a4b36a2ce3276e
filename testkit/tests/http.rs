//! The service and the consumer, against each other.

use adit_testkit::{
    http::{Consumer, Service, WebSocketFrame, pattern},
    wait::until,
};
use std::{io, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn start() -> (Service, Consumer) {
    let service = Service::start().await;
    let consumer = Consumer::plain(service.address());
    (service, consumer)
}

#[tokio::test]
async fn requests_come_back_as_they_were_sent() {
    let (service, consumer) = start().await;
    assert_eq!(consumer.get("a", "/").await.unwrap().text(), "hello");
    let request = consumer.get("shop.example", "/request?a=%20b").await.unwrap().json();
    assert_eq!((&request["method"], &request["target"]), (&"GET".into(), &"/request?a=%20b".into()));
    assert_eq!(request["headers"], serde_json::json!([["host", "shop.example"]]));
    let head = consumer.send("HEAD /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!((head.header("content-length"), head.body.len()), (Some("9"), 0));
    assert_eq!(consumer.get("a", "/status/503").await.unwrap().status, 503);
    let cookie = consumer.get("a", "/header/set-cookie/a=b%3B%20Path").await.unwrap();
    assert_eq!(cookie.header("set-cookie"), Some("a=b; Path"));
    assert_eq!(service.requests(), 5);
}

#[tokio::test]
async fn bodies_stream_whole_in_both_directions() {
    let (_service, consumer) = start().await;
    for path in ["/bytes/300000", "/chunked/300000"] {
        assert_eq!(consumer.get("a", path).await.unwrap().body, pattern(0, 300_000), "{path}");
    }
    let mut upload = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n".to_vec();
    upload.extend_from_slice(&pattern(0, 300_000));
    assert_eq!(consumer.send(&upload).await.unwrap().text(), "{\"bytes\":300000,\"intact\":true}");
    upload[200_000] ^= 1;
    assert_eq!(consumer.send(&upload).await.unwrap().text(), "{\"bytes\":300000,\"intact\":false}");

    let mut wire = consumer.connect().await.unwrap();
    wire.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await
        .unwrap();
    loop {
        // The head, then the first chunk: it is back before the second is sent.
        let line = wire.line().await.unwrap().unwrap();
        if line == "one" {
            break;
        }
    }
    wire.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(wire.line().await.unwrap().unwrap(), "3");
    assert_eq!(wire.line().await.unwrap().unwrap(), "two");
}

#[tokio::test]
async fn trailers_events_and_cuts() {
    let (_service, consumer) = start().await;
    let answer = consumer.send("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await.unwrap();
    assert_eq!((answer.text(), answer.trailers.len()), ("body", 2));
    let mut wire = consumer.connect().await.unwrap();
    wire.write_all(b"GET /sse/2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    while wire.line().await.unwrap().unwrap() != "data: 1" {}
    let cut = consumer.get("a", "/cut/100").await.unwrap_err();
    assert!(matches!(cut.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{cut}");
}

#[tokio::test]
async fn websockets_and_other_upgrades_echo() {
    let (_service, consumer) = start().await;
    let mut socket = consumer.websocket("a", "/ws").await.unwrap();
    for length in [0, 125, 126, 70_000] {
        socket.send(2, pattern(0, length)).await.unwrap();
        assert_eq!(
            socket.receive().await.unwrap(),
            WebSocketFrame { opcode: 2, payload: pattern(0, length).to_vec() }
        );
    }
    socket.send(9, "x").await.unwrap();
    assert_eq!(socket.receive().await.unwrap().opcode, 10);
    socket.send(8, "").await.unwrap();
    assert_eq!(socket.receive().await.unwrap().opcode, 8);
    assert!(consumer.websocket("a", "/").await.is_err());

    let mut wire = consumer.connect().await.unwrap();
    let answer =
        wire.send(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n").await;
    assert_eq!(answer.unwrap().status, 101);
    wire.write_all(b"ping\n").await.unwrap();
    assert_eq!(wire.line().await.unwrap().unwrap(), "ping");
    wire.shutdown().await.unwrap();
    assert!(wire.rest().await.unwrap().is_empty(), "a half-close is answered by an end");
}

#[tokio::test]
async fn http2_in_clear_with_trailers() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let (service, _) = start().await;
    let socket = TcpStream::connect(service.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(bytes::Bytes::from_static(b"\0\0\0\0\x02hi"));
    let request = http::Request::post("http://a/grpc.Echo/Echo").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(answer.to_bytes(), b"\0\0\0\0\x02hi"[..]);
}

#[tokio::test]
async fn a_reader_of_events_that_is_gone_is_missed() {
    let (service, consumer) = start().await;
    let mut wire = consumer.connect().await.unwrap();
    wire.write_all(b"GET /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    while wire.line().await.unwrap().unwrap() != "data: 0" {}
    assert_eq!(service.open_connections(), 1);
    drop(wire);
    until("its connection has ended", || service.open_connections() == 0).await;
}

#[tokio::test]
async fn a_reset_ends_a_connection_that_awaits_an_answer() {
    let (service, _) = start().await;
    for head in ["GET /hang HTTP/1.1\r\nHost: a\r\n\r\n", "GET /slow/600000 HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut socket = TcpStream::connect(service.address()).await.unwrap();
        let requests = service.requests();
        socket.write_all(head.as_bytes()).await.unwrap();
        until("the service has the request", || service.requests() > requests).await;
        assert_eq!(service.open_connections(), 1);
        socket.set_zero_linger().unwrap();
        drop(socket);
        until("its connection has ended", || service.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn a_dropped_service_takes_its_connections_along() {
    let (service, consumer) = start().await;
    let mut wire = consumer.connect().await.unwrap();
    assert_eq!(wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap().status, 200);
    assert_eq!((service.connections(), service.open_connections()), (1, 1));
    drop(service);
    let end = tokio::time::timeout(Duration::from_secs(60), wire.rest()).await.unwrap();
    assert!(end.map_or(true, |bytes| bytes.is_empty()));
    assert!(consumer.connect().await.is_err());
}
