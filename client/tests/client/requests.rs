//! HTTP requests through the client to a service.

use crate::relay::{Relay, event, http, read_all, soon};
use adit::{
    event::{EventKind, TunnelState},
    service::UpstreamProtocol,
};
use adit_mux::ResetReason;
use adit_testkit::{
    http::{Service, pattern},
    port::Port,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use std::io::ErrorKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn a_request_reaches_the_service_as_the_consumer_sent_it() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, mut events, session) = relay.serve(http(service.address())).await;
    let request = session
        .request("GET", "/request?a=%2f&b")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-own", "kept")
        .body(())
        .unwrap();
    let (response, _) = session.open(request, true).await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("connection"));
    let seen: Value = serde_json::from_slice(&read_all(response.into_body()).await.unwrap()).unwrap();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["target"], "/request?a=%2f&b");
    assert_eq!(seen["version"], "HTTP/1.1");
    let mut headers: Vec<(&str, &str)> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    headers.sort_unstable();
    let expected = [
        ("cookie", "a=1; b=2"),
        ("host", "shop.adit.localhost"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-own", "kept"),
    ];
    assert_eq!(headers, expected);

    let exchange = event(&mut events, |what| match what {
        EventKind::Request(exchange) if exchange.duration_ms.is_some() => Some(exchange.clone()),
        _ => None,
    })
    .await;
    assert_eq!(exchange.id, "rq1");
    assert_eq!(exchange.consumer.as_deref(), Some("203.0.113.9"));
    assert_eq!((exchange.method.as_deref(), exchange.path.as_deref()), (Some("GET"), Some("/request")));
    assert_eq!(exchange.status, Some(200));
    assert!(exchange.bytes_out > 0 && exchange.bytes_in == 0);
}

#[tokio::test]
async fn a_host_header_of_ones_own_replaces_the_consumers() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let mut spec = http(service.address());
    spec.host_header = Some("app.internal".into());
    let (_client, _events, session) = relay.serve(spec).await;
    let (_, body) = session.get("/request").await;
    assert!(String::from_utf8(body).unwrap().contains(r#"["host","app.internal"]"#));
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for length in [None, Some("11")] {
        let mut request = session.request("POST", "/echo");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let (response, mut to) = session.open(request.body(()).unwrap(), false).await;
        to.send_data(Bytes::from_static(b"first "), false).unwrap();
        let mut from = soon(response).await.unwrap().into_body();
        assert_eq!(soon(from.data()).await.unwrap().unwrap(), "first ");
        to.send_data(Bytes::from_static(b"later"), true).unwrap();
        assert_eq!(soon(from.data()).await.unwrap().unwrap(), "later");
        assert_eq!(soon(read_all(from)).await.unwrap(), b"");
    }
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let (response, mut to) = session.open(session.request("GET", "/echo").body(()).unwrap(), false).await;
    to.send_data(Bytes::from_static(b"query"), true).unwrap();
    assert_eq!(soon(read_all(soon(response).await.unwrap().into_body())).await.unwrap(), b"query");
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for path in ["/bytes/20000003", "/chunked/20000003"] {
        let (_, body) = session.get(path).await;
        assert!(body == pattern(0, 20_000_003), "{path}");
    }
    let (response, to) = session.open(session.request("POST", "/upload").body(()).unwrap(), false).await;
    let body = http_body_util::Full::new(pattern(0, 20_000_003));
    soon(adit_mux::body::send(body, to)).await.unwrap();
    let answer = soon(read_all(soon(response).await.unwrap().into_body())).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), r#"{"bytes":20000003,"intact":true}"#);
}

#[tokio::test]
async fn an_upload_goes_on_while_the_answer_is_not_read() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let (response, to) = session.open(session.request("POST", "/echo").body(()).unwrap(), false).await;
    // More than all buffers between here and the service hold is read only while the answer is read, too.
    let sending = tokio::spawn(adit_mux::body::send(http_body_util::Full::new(pattern(0, 30_000_000)), to));
    let body = soon(response).await.unwrap().into_body();
    let echoed = soon(read_all(body)).await.unwrap();
    assert!(echoed == pattern(0, 30_000_000));
    soon(sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn trailers_come_through() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let request = session.request("GET", "/trailers").header("te", "trailers").body(()).unwrap();
    let (response, _) = session.open(request, true).await;
    let mut body = soon(response).await.unwrap().into_body();
    while soon(body.data()).await.is_some() {}
    let trailers = soon(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["x-sum"], "4");
}

#[tokio::test]
async fn grpc_reaches_the_service_by_http2_with_its_trailers() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for _ in 0..3 {
        let request = session
            .request("POST", "/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let (response, mut to) = session.open(request.body(()).unwrap(), false).await;
        to.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).unwrap();
        let mut body = soon(response).await.unwrap().into_body();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), "\0\0\0\0\x02hi");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", HeaderValue::from_static("1"));
        to.send_trailers(trailers).unwrap();
        while soon(body.data()).await.is_some() {}
        assert_eq!(soon(body.trailers()).await.unwrap().unwrap()["grpc-status"], "0");
    }
    assert!(service.connections() <= 2, "one connection, and the probe's: {}", service.connections());
}

#[tokio::test]
async fn an_h2c_service_gets_http2() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let mut spec = http(service.address());
    spec.upstream_protocol = UpstreamProtocol::Http2;
    let (_client, _events, session) = relay.serve(spec).await;
    let (_, body) = session.get("/request").await;
    let seen: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&seen["version"], &seen["target"]),
        (&"HTTP/2".into(), &"http://shop.adit.localhost/request".into())
    );
    let (_, body) = session.get("/bytes/3000000").await;
    assert!(body == pattern(0, 3_000_000));
}

#[tokio::test]
async fn answers_without_a_body_are_whole() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let (response, _) = session.open(session.request("HEAD", "/bytes/77").body(()).unwrap(), true).await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.headers()["content-length"], "77");
    assert!(response.body().is_end_stream());
    for status in [204, 304] {
        let (response, body) = session.get(&format!("/status/{status}")).await;
        assert_eq!((response.status().as_u16(), body.len()), (status, 0));
    }
}

#[tokio::test]
async fn connections_to_the_service_are_kept() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for _ in 0..50 {
        assert_eq!(session.get("/").await.1, b"hello");
    }
    assert!(service.connections() <= 2, "one, and the probe's: {}", service.connections());
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut relay = Relay::start().await;
    let address = listener.local_addr().unwrap();
    // Answers one request on each connection as if it kept it, and closes it when the next one comes, unanswered.
    let service = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                if matches!(tcp.read(&mut buffer).await, Ok(1..)) {
                    tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    let _ = tcp.read(&mut buffer).await;
                }
            });
        }
    });
    let (_client, _events, session) = relay.serve(http(address)).await;
    for _ in 0..20 {
        let (response, body) = session.get("/").await;
        assert_eq!((response.status().as_u16(), body.as_slice()), (200, b"ok".as_slice()));
    }
    // What may not be sent twice is not: it may have been handled.
    let (response, _) = session.open(session.request("POST", "/").body(()).unwrap(), true).await;
    let response = soon(response).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["adit-error"]),
        (502, &"service_down".parse().unwrap())
    );
    service.abort();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_an_end() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let (response, _) = session.open(session.request("GET", "/cut/1000").body(()).unwrap(), true).await;
    let response = soon(response).await.unwrap();
    assert!(soon(read_all(response.into_body())).await.is_err());
    assert_eq!(session.get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_service_that_is_down_is_told_and_noticed_when_it_is_back() {
    let port = Port::take();
    let address = port.address();
    let mut relay = Relay::start().await;
    let (_client, mut events, session) = relay.serve(http(address)).await;
    let (response, _) = session.get("/").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["adit-error"]),
        (502, &"service_down".parse().unwrap())
    );
    let state = |wanted: TunnelState| {
        move |what: &EventKind| match what {
            EventKind::TunnelState(status) if status.state == wanted => Some(status.clone()),
            _ => None,
        }
    };
    let down = event(&mut events, state(TunnelState::ServiceDown)).await;
    assert_eq!(down.reason, Some(format!("{address} refuses connections; consumers get 502")));
    let _service = Service::start_at(address).await;
    event(&mut events, state(TunnelState::Connected)).await;
    assert_eq!(session.get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_service_that_speaks_no_http_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut relay = Relay::start().await;
    let (_client, _events, session) = relay.serve(http(listener.local_addr().unwrap())).await;
    let service = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = tcp.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
                let _ = tcp.read(&mut [0; 1024]).await;
            });
        }
    });
    let (response, _) = session.get("/").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["adit-error"]),
        (502, &"service_protocol".parse().unwrap())
    );
    service.abort();
}

#[tokio::test]
async fn http_to_a_tls_port_is_told_with_what_to_write_instead() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut relay = Relay::start().await;
    let (_client, mut events, session) = relay.serve(http(address)).await;
    let service = tokio::spawn(async move {
        // As OpenSSL does: a fatal alert for what is no handshake. Then it is replaced by a service that speaks HTTP.
        for answer in [&[0x15, 3, 1, 0, 2, 2, 70][..], b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                if tcp.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {
                    tcp.write_all(answer).await.unwrap();
                    break;
                }
            }
        }
    });
    assert_eq!(session.get("/").await.0.status(), 502);
    let told = event(&mut events, |what| match what {
        EventKind::TunnelState(status) if status.state == TunnelState::ServiceDown => Some(status.clone()),
        _ => None,
    })
    .await;
    assert_eq!(told.code.map(adit_protocol::Code::as_str), Some("service_protocol"));
    assert_eq!(told.reason, Some(format!("{address} speaks TLS: use https://{address}; consumers get 502")));
    assert_eq!(session.get("/").await.0.status(), 200);
    event(&mut events, |what| {
        matches!(what, EventKind::TunnelState(status) if status.state == TunnelState::Connected).then_some(())
    })
    .await;
    soon(service).await.unwrap();
}

#[tokio::test]
async fn a_paused_tunnel_says_so_and_goes_on() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (client, mut events, session) = relay.serve(http(service.address())).await;
    let tunnel = client.tunnels().remove(0);
    client.pause(&tunnel);
    let (response, _) = session.get("/").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["adit-error"]),
        (503, &"paused".parse().unwrap())
    );
    event(&mut events, |what| {
        matches!(what, EventKind::TunnelState(status) if status.state == TunnelState::Paused).then_some(())
    })
    .await;
    client.resume(&tunnel);
    assert_eq!(session.get("/").await.1, b"hello");
    assert_eq!(service.requests(), 1);
}

#[tokio::test]
async fn a_service_cannot_speak_for_adit() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for header in ["adit-error", "Adit-Tunnel", "connection", "keep-alive"] {
        let (response, _) = session.get(&format!("/header/{header}/x")).await;
        assert_eq!(response.status(), 200, "{header}");
        assert!(!response.headers().contains_key(header), "{header}");
    }
}

#[tokio::test]
async fn a_slow_answer_breaks_off_when_the_consumer_leaves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut relay = Relay::start().await;
    let (_client, _events, session) = relay.serve(http(listener.local_addr().unwrap())).await;
    let (response, mut to) = session.open(session.request("GET", "/").body(()).unwrap(), true).await;
    let mut buffer = [0; 4096];
    let mut io = loop {
        let (mut io, _) = soon(listener.accept()).await.unwrap();
        // The probe's connection brings nothing.
        if soon(io.read(&mut buffer)).await.unwrap() > 0 {
            break io;
        }
    };
    to.send_reset(ResetReason::Cancel);
    drop(response);
    assert_eq!(soon(io.read(&mut buffer)).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
