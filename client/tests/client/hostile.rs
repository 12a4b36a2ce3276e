//! A relay that breaks the protocol, and consumers that do their worst.

use crate::relay::{Answer, Relay, http, read_all, soon};
use adit::event::ClientState;
use adit_mux::ResetReason;
use adit_protocol::{Code, RefusedTunnel, ToClient, ToRelay};
use adit_testkit::{http::Service, wait::until};
use http::Request;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn streams_for_tunnels_of_other_sessions_are_refused() {
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
async fn a_thousand_consumers_who_leave_do_not_end_the_session() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for path in ["/hang", "/", "/chunked/100000", "/echo"] {
        let mut streams = vec![];
        for _ in 0..1000 {
            let request = session.request("POST", path).body(()).unwrap();
            streams.push(session.open(request, false).await);
        }
        for (_, stream) in &mut streams {
            stream.send_reset(ResetReason::Cancel);
        }
        assert_eq!(session.get("/").await.1, b"hello");
    }
    assert_eq!(session.get("/").await.1, b"hello");
    // Those that got as far as the service are gone there, too.
    until("nearly all its connections end", || service.open_connections() <= 20).await;
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
        [b"{]\n".to_vec(), b"{\"later\":\"type\"}\n".to_vec(), vec![b'x'; 70_000], b"\xff\n".to_vec()]
    {
        session.tell_bytes(garbage);
        session.ended().await;
        session = relay.session().await;
        assert_eq!(session.get("/").await.1, b"hello");
    }
}

#[tokio::test]
async fn what_a_later_relay_says_is_passed_over() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, mut session) = relay.serve(http(service.address())).await;
    session.tell_bytes(b"{\"type\":\"later\",\"steps\":[1]}\n".to_vec());
    // The answer to what follows says that it was read.
    session.tell(&adit_protocol::ToClient::Move { deadline_ms: 30_000 });
    let new = relay.session().await;
    assert!(matches!(session.hear().await, Some(adit_protocol::ToRelay::Leave {})));
    assert_eq!(new.get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_reply_that_is_not_a_relays_ends_a_new_client() {
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

#[tokio::test]
async fn numbers_beyond_all_measure_are_kept_within_it() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    relay.set_policy(|_| {
        Answer::Welcome(Box::new(|welcome| {
            welcome.sessions = u8::MAX;
            welcome.relays = u32::MAX;
            welcome.credential_expires = u64::MAX;
            let mut more = welcome.opened[0].clone();
            more.tunnel = "tn_nobody".parse().unwrap();
            let again = welcome.opened[0].clone();
            welcome.opened.extend([again, more]);
        }))
    });
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    assert_eq!(session.get("/").await.1, b"hello");
    let mut sessions = vec![session];
    while let Ok(session) = tokio::time::timeout(Duration::from_secs(2), relay.session()).await {
        sessions.push(session);
        // Two, and those of the tries to find another relay, which end at once: eight in a row, and eight ever more slowly.
        assert!(sessions.len() <= 2 + 8 + 8 + 1, "the client dials for ever");
    }
    // The two that it keeps.
    for session in &mut sessions[..2] {
        session.tell(&ToClient::Move { deadline_ms: u64::MAX });
        session.tell(&ToClient::Move { deadline_ms: 0 });
        session.tell(&ToClient::Limited { code: Code::Unknown, limit: u64::MAX, refused: u64::MAX });
        session.tell(&ToClient::Credential { credential: String::new(), expires: u64::MAX });
        session.tell(&ToClient::Credential { credential: "x".repeat(60_000), expires: 0 });
        session.tell(&ToClient::RenewRefused { code: Code::Unknown, message: "\u{1b}[2J".repeat(1000) });
    }
    assert_eq!(sessions[0].get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_relay_that_says_retry_now_is_asked_ever_more_slowly() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let refused = |tunnel: &str| RefusedTunnel {
        tunnel: tunnel.parse().unwrap(),
        code: Code::RegistryUnavailable,
        message: "not now".into(),
        retry_after_ms: Some(0),
    };
    relay.set_policy(move |hello| {
        let tunnel = hello.tunnels[0].tunnel.to_string();
        Answer::Welcome(Box::new(move |welcome| {
            welcome.opened.clear();
            welcome.refused = vec![refused(&tunnel)];
        }))
    });
    let (_client, _events, mut session) = relay.serve(http(service.address())).await;
    let Some(ToRelay::Open(open)) = session.hear().await else { panic!("it is not asked again") };
    session.tell(&ToClient::Refused(refused(open.tunnel.as_str())));
    let mut asked = 1;
    let end = Instant::now() + Duration::from_secs(2);
    while let Ok(Some(message)) = tokio::time::timeout_at(end, session.hear()).await {
        if let ToRelay::Open(open) = message {
            asked += 1;
            session.tell(&ToClient::Refused(refused(open.tunnel.as_str())));
        }
    }
    assert!(asked < 40, "asked {asked} times");
}

#[tokio::test]
async fn a_relay_that_refuses_for_now_is_dialled_ever_more_slowly() {
    let relay = Relay::with_policy(|_| Answer::refused(Code::Overloaded, Some(0))).await;
    let dials = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = dials.clone();
    relay.set_policy(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Answer::refused(Code::Overloaded, Some(0))
    });
    let client = relay.client().tunnel(http(relay.address)).start().unwrap();
    let mut events = client.events(true);
    let state = crate::relay::event(&mut events, |what| match what {
        adit::event::EventKind::ClientState { state, retry_at, .. } if retry_at.is_some() => Some(*state),
        _ => None,
    })
    .await;
    assert_eq!(state, ClientState::Connecting);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let dials = || dials.load(std::sync::atomic::Ordering::Relaxed);
    assert!(dials() < 40, "{} dials in 2 s", dials());
    until("it is dialled again", || dials() > 1).await;
}

#[tokio::test]
async fn a_relay_that_moves_its_clients_nowhere_keeps_them() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, mut session) = relay.serve(http(service.address())).await;
    for _ in 0..20 {
        session.tell(&ToClient::Move { deadline_ms: 0 });
    }
    // The region has one relay: the client dials it again, and goes on with what it has until then.
    let mut next = relay.session().await;
    assert_eq!(next.get("/").await.1, b"hello");
    next.tell(&ToClient::Closed {
        tunnel: "tn_nobody".parse().unwrap(),
        code: Code::Unknown,
        message: String::new(),
    });
    next.tell(&ToClient::Refused(RefusedTunnel {
        tunnel: "tn_nobody".parse().unwrap(),
        code: Code::Unknown,
        message: String::new(),
        retry_after_ms: Some(u64::MAX),
    }));
    assert_eq!(next.get("/").await.1, b"hello");
}

#[tokio::test]
async fn heads_that_are_too_large_cost_their_stream_alone() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for _ in 0..20 {
        let mut request = session.request("GET", "/").body(()).unwrap();
        for n in 0..2000 {
            request.headers_mut().insert(
                http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap(),
                "y".repeat(20).parse().unwrap(),
            );
        }
        let (response, _) = session.open(request, true).await;
        assert!(soon(response).await.map_or(true, |response| response.status() == 431));
    }
    assert_eq!(service.requests(), 0);
    assert_eq!(session.get("/").await.1, b"hello");
}
