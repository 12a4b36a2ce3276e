//! All kinds of requests, from a consumer through a relay and a client to a service and back.

use crate::relay_fixture::{HOST, RelayFixture, region};
use adit_testkit::{
    h2::{self, RecvStream, SendStream, client::SendRequest, ext::Protocol},
    http::{ConsumerConnection, RecordingService, Service},
    wait::until_done,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A relay that serves [`HOST`] by a service, given by its address or URL.
async fn publish(service: impl ToString) -> RelayFixture {
    RelayFixture::publishing(region(), service).await
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://{HOST}{path}"))
}

async fn send(
    opener: &SendRequest<Bytes>,
    request: Request<()>,
    end: bool,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    opener.clone().ready().await.unwrap().send_request(request, end).unwrap()
}

/// The next bytes of an answer.
async fn next(body: &mut RecvStream) -> Bytes {
    let bytes = until_done("data arrive", body.data()).await.unwrap().unwrap();
    body.flow_control().release_capacity(bytes.len()).unwrap();
    bytes
}

/// Waits for the end of an answer of which all bytes have come.
async fn ends(body: &mut RecvStream) {
    while let Some(more) = until_done("data arrive", body.data()).await {
        assert!(more.unwrap().is_empty());
    }
}

async fn whole(response: Response<RecvStream>) -> (u16, Vec<u8>, HeaderMap) {
    let (head, mut body) = response.into_parts();
    let mut bytes = vec![];
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    (head.status.as_u16(), bytes, body.trailers().await.unwrap().unwrap_or_default())
}

#[tokio::test]
async fn an_http2_consumer_has_many_requests_on_one_connection() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let opener = fixture.http2().await;
    // Read side by side: they share the connection's window.
    let mut answers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let path = format!("/bytes/{}", 1000 * n);
        let (response, _) = send(&opener, request("GET", &path).body(()).unwrap(), true).await;
        answers.spawn(async move { (1000 * n, whole(response.await.unwrap()).await) });
    }
    for (bytes, (status, body, _)) in until_done("all answers arrive", answers.join_all()).await {
        assert_eq!((status, body.len()), (200, bytes));
    }
    let (response, mut upload) = send(&opener, request("POST", "/upload").body(()).unwrap(), false).await;
    let mut at = 0;
    while at < 3_000_000 {
        upload.reserve_capacity(100_000);
        let granted = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await.unwrap().unwrap();
        let to = (at + granted as u64).min(3_000_000);
        upload.send_data(adit_testkit::http::pattern(at, to), to == 3_000_000).unwrap();
        at = to;
    }
    let (_, body, _) = whole(response.await.unwrap()).await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["bytes"], &body["intact"]), (&3_000_000.into(), &true.into()));
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let opener = fixture.http2().await;
    let (response, mut upload) = send(&opener, request("POST", "/echo").body(()).unwrap(), false).await;
    upload.send_data(Bytes::from_static(b"0"), false).unwrap();
    let mut answer = response.await.unwrap().into_body();
    assert_eq!(&next(&mut answer).await[..], b"0");
    for n in 1..50 {
        let said = Bytes::from(n.to_string());
        upload.send_data(said.clone(), false).unwrap();
        assert_eq!(next(&mut answer).await, said);
    }
    upload.send_data(Bytes::new(), true).unwrap();
    ends(&mut answer).await;

    let mut wire = fixture.consumer().connect().await.unwrap();
    let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.write_all(head.as_bytes()).await.unwrap();
    let say = async |wire: &mut ConsumerConnection, text: &str| {
        wire.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.unwrap();
        while wire.line().await.unwrap().unwrap() != text {}
    };
    for n in 100..150 {
        say(&mut wire, &format!("said {n}")).await;
    }
}

#[tokio::test]
async fn grpc_works_in_every_way() {
    let service = Service::start().await;
    let fixture = publish(format!("h2c://{}", service.address())).await;
    let opener = fixture.http2().await;
    let grpc = || {
        request("POST", "/grpc.Echo/Call").header("content-type", "application/grpc").header("te", "trailers")
    };
    // Unary: five bytes of framing, then the message.
    let message = Bytes::from_static(b"\0\0\0\0\x05hello");
    let (response, mut upload) = send(&opener, grpc().body(()).unwrap(), false).await;
    upload.send_data(message.clone(), true).unwrap();
    let (status, body, trailers) = whole(response.await.unwrap()).await;
    assert_eq!((status, &body[..]), (200, &message[..]));
    assert_eq!(trailers["grpc-status"], "0");
    // A stream in both directions, each message answered before the next one is sent.
    let (response, mut upload) = send(&opener, grpc().body(()).unwrap(), false).await;
    upload.send_data(message.clone(), false).unwrap();
    let mut answer = response.await.unwrap().into_body();
    assert_eq!(next(&mut answer).await, message);
    for _ in 0..20 {
        upload.send_data(message.clone(), false).unwrap();
        assert_eq!(next(&mut answer).await, message);
    }
    upload.send_data(Bytes::new(), true).unwrap();
    ends(&mut answer).await;
    assert_eq!(answer.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    // The service saw HTTP/2.
    let (response, _) = send(&opener, request("GET", "/request").body(()).unwrap(), true).await;
    let (_, body, _) = whole(response.await.unwrap()).await;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["version"], "HTTP/2");
    // Without a service the answer is gRPC's, too.
    drop(service);
    let (response, _) = send(&opener, grpc().body(()).unwrap(), true).await;
    let response = response.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
    assert_eq!(response.headers()["adit-error"], "service_down");
}

#[tokio::test]
async fn trailers_travel_in_both_directions() {
    let service = Service::start().await;
    let fixture = publish(format!("h2c://{}", service.address())).await;
    let opener = fixture.http2().await;
    let (response, mut upload) = send(&opener, request("POST", "/echo").body(()).unwrap(), false).await;
    upload.send_data(Bytes::from_static(b"body"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "4".parse().unwrap());
    upload.send_trailers(trailers).unwrap();
    let (_, body, trailers) = whole(response.await.unwrap()).await;
    assert_eq!((&body[..], &trailers["x-sum"]), (&b"body"[..], &"4".parse().unwrap()));

    // By HTTP/1.1 to a service that speaks it, as `Trailer` announces them.
    let fixture = publish(service.address()).await;
    let asked = format!(
        "POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: te\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 4\r\n\r\n"
    );
    let answer = fixture.consumer().send(asked).await.unwrap();
    assert_eq!(answer.text(), "body");
    let asked = format!("GET /trailers HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: te\r\n\r\n");
    let answer = fixture.consumer().send(asked).await.unwrap();
    let expected = [("x-sum".to_owned(), "4".to_owned()), ("x-more".to_owned(), "yes".to_owned())];
    assert_eq!(answer.trailers, expected);
}

#[tokio::test]
async fn server_sent_events_come_one_by_one() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let mut wire = fixture.consumer().connect().await.unwrap();
    wire.write_all(format!("GET /sse/3 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    for event in 0..3 {
        // The stream stays open: what comes has come without waiting for an end.
        while wire.line().await.unwrap().unwrap() != format!("data: {event}") {}
    }
    let opener = fixture.http2().await;
    let (response, _) = send(&opener, request("GET", "/sse/3").body(()).unwrap(), true).await;
    let mut body = response.await.unwrap().into_body();
    let mut seen = vec![];
    while !seen.ends_with(b"data: 2\n\n") {
        seen.extend_from_slice(&next(&mut body).await);
    }
}

#[tokio::test]
async fn a_service_notices_that_a_reader_of_events_has_left() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture = publish(service.local_addr().unwrap()).await;
    let stream = async || loop {
        let (mut wire, _) = until_done("a connection arrives", service.accept()).await.unwrap();
        let mut head = [0; 4096];
        // The connection by which the client looks whether the service is there brings nothing.
        if until_done("a request arrives", wire.read(&mut head)).await.unwrap() > 0 {
            let events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 0\n\n";
            wire.write_all(events).await.unwrap();
            return wire;
        }
    };
    let mut wire = fixture.consumer().connect().await.unwrap();
    wire.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut served = stream().await;
    while until_done("a line arrives", wire.line()).await.unwrap().unwrap() != "data: 0" {}
    drop(wire);
    assert!(matches!(until_done("the connection ends", served.read(&mut [0; 10])).await, Ok(0) | Err(_)));

    let opener = fixture.http2().await;
    let (response, _) = send(&opener, request("GET", "/").body(()).unwrap(), true).await;
    let mut served = stream().await;
    let mut body = until_done("the response arrives", response).await.unwrap().into_body();
    assert_eq!(&next(&mut body).await[..], b"data: 0\n\n");
    drop(body);
    assert!(matches!(until_done("the connection ends", served.read(&mut [0; 10])).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_consumer_gets_the_100_that_it_expects_before_its_body() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let head = |path: &str, host: &str, length: u64| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut wire = fixture.consumer().connect().await.unwrap();
    wire.write_all(head("/echo", HOST, 4).as_bytes()).await.unwrap();
    assert_eq!(wire.line().await.unwrap().unwrap(), "HTTP/1.1 100 Continue");
    wire.write_all(b"body").await.unwrap();
    assert_eq!(wire.line().await.unwrap().unwrap(), "");
    assert_eq!(wire.answer(false).await.unwrap().text(), "body");
    // Who is refused is told at once, and sends nothing.
    let mut wire = fixture.consumer().connect().await.unwrap();
    wire.write_all(head("/", "nobody.adit.localhost", 4).as_bytes()).await.unwrap();
    let answer = wire.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.interim), (404, vec![]));
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_in_order() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    for consumer in [fixture.consumer(), fixture.tls_consumer(&[b"http/1.1"])] {
        let mut wire = consumer.connect().await.unwrap();
        for _ in 0..3 {
            let head = format!("HEAD /bytes/1000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            let answer = wire.send(head.as_bytes()).await.unwrap();
            assert_eq!((answer.status, answer.header("content-length")), (200, Some("1000")));
            for status in [204, 304, 205, 404] {
                let get = format!("GET /status/{status} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
                assert_eq!(wire.send(get.as_bytes()).await.unwrap().status, status);
            }
            let get = format!("GET /bytes/10 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            assert_eq!(wire.send(get.as_bytes()).await.unwrap().body.len(), 10);
        }
    }
}

#[tokio::test]
async fn a_websocket_travels_on_an_http2_connection() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let opener = fixture.http2().await;
    // The relay's settings have come with its first answer.
    let (response, _) = send(&opener, request("GET", "/").body(()).unwrap(), true).await;
    assert_eq!(response.await.unwrap().status(), 200);
    assert!(opener.is_extended_connect_protocol_enabled());
    let connect = |protocol: &'static str, path: &str| {
        let mut connect = request("CONNECT", path).header("sec-websocket-version", "13").body(()).unwrap();
        connect.extensions_mut().insert(Protocol::from_static(protocol));
        connect
    };
    let (response, mut to) = send(&opener, connect("websocket", "/ws"), false).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    assert!(!response.headers().contains_key("upgrade"));
    let mut from = response.into_body();
    for text in [&b"hi"[..], b"again"] {
        // A masked text frame, with a mask of zeros.
        let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text].concat();
        to.send_data(frame.into(), false).unwrap();
        let mut echoed = vec![];
        while echoed.len() < 2 + text.len() {
            echoed.extend_from_slice(&next(&mut from).await);
        }
        assert_eq!(&echoed[2..], text);
    }
    to.send_reset(h2::Reason::CANCEL);
    // Any other protocol, and both ends of it.
    let (response, mut to) = send(&opener, connect("made-up", "/upgrade"), false).await;
    let mut from = response.await.unwrap().into_body();
    to.send_data(Bytes::from_static(b"over and out"), true).unwrap();
    assert_eq!(&next(&mut from).await[..], b"over and out");
    ends(&mut from).await;
    // A service that refuses, and one that answers as if it had not been asked: here 200 would be a lie.
    let (response, _to) = send(&opener, connect("websocket", "/status/403"), false).await;
    assert_eq!(response.await.unwrap().status(), 403);
    let recorder = RecordingService::start().await;
    let fixture = publish(recorder.address()).await;
    let opener = fixture.http2().await;
    let (response, _to) = send(&opener, connect("websocket", "/"), false).await;
    let response = response.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["adit-error"]),
        (502, &"service_protocol".parse().unwrap())
    );
}
