//! A relay that breaks the protocol, and consumers that do their worst.

use crate::relay::{Answer, DEADLINE, Relay, http, read_all, soon};
use adit_testkit::http::Service;
use http::Request;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn streams_for_tunnels_that_the_session_does_not_serve_are_refused() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for id in [None, Some("tn_other"), Some(""), Some("TN \u{7f}")] {
        let mut request = Request::get("https://shop.adit.localhost/").body(()).unwrap();
        if let Some(value) = id.and_then(|id| id.parse().ok()) {
            request.headers_mut().insert("adit-tunnel", value);
        }
        let (response, _) = session.open(request, true).await;
        let response = soon(response).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["adit-error"]),
            (404, &"unknown_host".parse().unwrap())
        );
    }
    let connect = Request::connect("a:1").header("adit-tunnel", &session.tunnel).body(()).unwrap();
    let (response, _) = session.open(connect, false).await;
    assert_eq!(soon(response).await.unwrap().status(), 400);
    assert_eq!(session.get("/").await.1, b"hello");
    assert_eq!(service.requests(), 1);
}

#[tokio::test]
async fn a_thousand_consumers_who_leave_at_once_do_not_end_the_session() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for path in ["/hang", "/", "/chunked/100000", "/echo"] {
        let mut streams = vec![];
        for _ in 0..1000 {
            let request = session.request("POST", path).body(()).unwrap();
            streams.push(session.open(request, false).await);
        }
        for (_, stream) in &mut streams {
            stream.send_reset(h2::Reason::CANCEL);
        }
        assert_eq!(session.get("/").await.1, b"hello");
    }
    assert_eq!(session.get("/").await.1, b"hello");
    // Those that got as far as the service are gone there, too.
    let deadline = Instant::now() + DEADLINE;
    while service.open_connections() > 20 {
        assert!(Instant::now() < deadline, "{} connections are left", service.open_connections());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_all_answered() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let mut streams = vec![];
    for _ in 0..1000 {
        streams.push(session.open(session.request("GET", "/bytes/3000").body(()).unwrap(), true).await.0);
    }
    for stream in streams {
        let body = soon(stream).await.unwrap().into_body();
        assert_eq!(soon(read_all(body)).await.unwrap().len(), 3000);
    }
}

#[tokio::test]
async fn garbage_on_the_control_stream_costs_a_session_and_no_more() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, mut session) = relay.serve(http(service.address())).await;
    for garbage in
        [b"{]\n".to_vec(), b"{\"type\":\"later\"}\n".to_vec(), vec![b'x'; 70_000], b"\xff\n".to_vec()]
    {
        session.tell_bytes(garbage);
        session.ended().await;
        session = relay.session().await;
        assert_eq!(session.get("/").await.1, b"hello");
    }
}

#[tokio::test]
async fn answers_that_are_not_a_relays_end_a_client_that_was_never_welcome() {
    for garbage in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0, 0, 0, 0],
        vec![0, 1, 0, 1],
        b"\0\0\0\x02{}".to_vec(),
        b"\0\0\0\x02{]".to_vec(),
    ] {
        let relay = Relay::with_policy(move |_| Answer::Bytes(garbage.clone())).await;
        let client = relay.client().tunnel(http(relay.address)).start().unwrap();
        assert_eq!(soon(client.closed()).await.unwrap_err().code, "not_a_relay");
    }
}

#[tokio::test]
async fn a_relay_without_a_control_stream_is_left() {
    // The welcome, then HTTP/1.1.
    let mut relay = Relay::start().await;
    let mut first = true;
    relay.set_policy(move |_| {
        if std::mem::take(&mut first) {
            let mut bytes = adit_protocol::frame::encode(&serde_json::json!({
                "type": "welcome", "version": 1, "mux": "h2", "relay": "relay-x", "region": "adit.localhost",
                "session": "s-x", "sessions": 1, "relays": 1, "account": {"issuer": "adit", "subject": "me"},
                "credential": "c", "credentialExpires": 4_000_000_000_u64, "renewWithToken": false,
                "opened": [], "refused": [],
            }))
            .unwrap();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            return Answer::Bytes(bytes);
        }
        Answer::welcome()
    });
    let service = Service::start().await;
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    assert_eq!(session.get("/").await.1, b"hello");
}
