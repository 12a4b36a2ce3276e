//! Requests that hyper and the relay's checks refuse, sent as bytes; error pages as hyper writes them.

use adit_protocol::Code;
use adit_relay::{
    ops::access_log::{RequestIds, now_us},
    proxy::{
        error_page::{Failure, Requester},
        headers::{self, Downstream},
    },
};
use adit_testkit::http::{Consumer, HttpResponse};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, task::AbortHandle};

/// A server that checks and rewrites a request's head as a relay does, and answers with its target, or the error.
struct Server {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        while let Ok((socket, peer)) = listener.accept().await {
            let downstream = Arc::new(Downstream::new(peer, false, 80));
            let service = service_fn(move |request| answer(request, Arc::clone(&downstream)));
            let mut start = [0; 3];
            socket.peek(&mut start).await.unwrap();
            let io = TokioIo::new(socket);
            if start == *b"PRI" {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(io, service));
            } else {
                let mut server = hyper::server::conn::http1::Builder::new();
                server.timer(TokioTimer::new()).max_buf_size(64 * 1024);
                tokio::spawn(server.serve_connection(io, service));
            }
        }
    });
    Server { address, accepting: accepting.abort_handle() }
}

async fn answer(
    request: Request<Incoming>,
    downstream: Arc<Downstream>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let (asker, now) = (Requester::of(&parts.method, &parts.headers), now_us());
    let request_id = RequestIds::new(0, 0).next(now);
    let failure = Failure::new(Code::TunnelOffline, Some("shop.example"), request_id, now);
    let fail = |bad: headers::BadRequest| {
        let failure = Failure { code: bad.code, bad: Some(&bad), ..failure };
        failure.response(asker).map(Full::new)
    };
    if parts.uri.path() == "/offline" {
        return Ok(failure.response(asker).map(Full::new));
    }
    let checked = match headers::check(&parts, &downstream) {
        Ok(checked) => checked,
        Err(bad) => return Ok(fail(bad)),
    };
    headers::forward(&mut parts, &downstream, &checked.target);
    let Ok(body) = body.collect().await else {
        return Ok(Response::builder().status(400).body(Full::default()).unwrap());
    };
    if let Some(Err(bad)) = body.trailers().map(headers::check_trailers) {
        return Ok(fail(bad));
    }
    let names: Vec<_> = parts.headers.keys().map(|name| name.as_str()).collect();
    let text = format!("{} {} {}", parts.uri, body.to_bytes().len(), names.join(","));
    Ok(Response::new(text.into()))
}

async fn send(server: &Server, request: impl AsRef<[u8]>) -> HttpResponse {
    Consumer::plain(server.address).send(request).await.unwrap()
}

#[tokio::test]
async fn requests_that_break_a_rule_are_refused() {
    let server = start().await;
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let cases = [
        (get(""), 400),
        (get("Host: a\r\nHost: a\r\n"), 400),
        (get("Host: a b\r\n"), 400),
        (get("Host: me@a\r\n"), 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9 * 1024)), 414),
        (get(&format!("Host: a\r\n{}", "A: b\r\n".repeat(100))), 431),
        (get(&format!("Host: a\r\nA: {}\r\n", "x".repeat(16 * 1024))), 431),
        (get("Host: a\r\nA: \x01\r\n"), 400),
        (get("Host: a\r\nA: b\r\n c\r\n"), 400),
        (get("Host: a\r\nA\0: b\r\n"), 400),
        (get("Host: a\r\nExpect: 200-ok\r\n"), 417),
        (get("Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"), 400),
        (post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), 400),
        (post("Content-Length: +1\r\n", "a"), 400),
        (post("Transfer-Encoding: gzip\r\n", ""), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501),
        (post(chunked, "0x1\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "1_0\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "10000000000000000\r\na\r\n0\r\n\r\n"), 400),
        (post(chunked, "1\r\nab\r\n0\r\n\r\n"), 400),
        (post(chunked, "1\r\na\r\n0\r\nHost: b\r\n\r\n"), 400),
        (post(chunked, "1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n"), 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n".to_owned() + &"B: c\r\n".repeat(20_000) + "\r\n", 431),
    ];
    for (request, status) in cases {
        let answer = send(&server, &request).await;
        let start: String = request.chars().take(100).collect();
        assert_eq!(answer.status, status, "{start:?}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test]
async fn what_hyper_repairs_travels_unambiguously() {
    let server = start().await;
    let framing = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let both = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n1\r\na\r\n0\r\n\r\n");
    let answer = send(&server, both).await;
    assert!(
        answer.text().starts_with("http://a/ 1 ") && !answer.text().contains("content-length"),
        "{answer:?}"
    );
    let equal = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na";
    assert!(send(&server, equal).await.text().starts_with("http://a/ 1 "));
    let answer =
        send(&server, "GET /a%2Fb/../c?%00 HTTP/1.1\r\nHost: A.\r\nX_Forwarded_For: 1\r\n\r\n").await;
    assert!(answer.text().starts_with("http://A./a%2Fb/../c?%00 0 "), "{}", answer.text());
    assert!(!answer.text().contains('_'), "{}", answer.text());
}

#[tokio::test]
async fn an_error_page_is_framed_rightly_for_every_method() {
    let server = start().await;
    let fetch = async |method: &str| {
        send(&server, format!("{method} /offline HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n")).await
    };
    let (get, head) = (fetch("GET").await, fetch("HEAD").await);
    assert_eq!((get.status, get.header("retry-after")), (503, Some("5")));
    assert_eq!(get.header("adit-error"), Some("tunnel_offline"));
    assert_eq!(get.header("content-length"), head.header("content-length"));
    assert!(get.text().contains("shop.example is not connected right now") && head.body.is_empty());
}

#[tokio::test]
async fn grpc_gets_its_status_in_headers_alone() {
    let server = start().await;
    let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://shop.example/offline").header("content-type", "application/grpc");
    let response =
        sender.send_request(request.body(Full::new(Bytes::from_static(b"x"))).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].as_bytes()), (200, &b"14"[..]));
    assert!(http_body::Body::is_end_stream(response.body()), "the headers end the stream");
    let plain = Request::get("http://shop.example/").body(Full::default()).unwrap();
    let body = sender.send_request(plain).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"http://shop.example/ 0 "));
}
