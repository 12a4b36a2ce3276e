//! Clients that break the tunnel's protocol after they were let in.

use crate::client::{EVIL, start, token};
use adit_protocol::{ToRelay, control};
use adit_testkit::{
    http::{Consumer, Http2Connection, Http2Frame, frames::kind},
    wait::until,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_client_that_hears_that_its_tunnel_is_open_can_rely_on_it() {
    let (_service, fixture, hostile) = start().await;
    let (sessions, tunnels) =
        (fixture.relay.metric("adit_sessions_open"), fixture.relay.metric("adit_tunnels_open"));
    let (mut http2, control) = hostile.await_control(&fixture, &[]).await;
    // It says that its tunnel is open when it is asked for the control stream, before the relay has its answer.
    assert_eq!(fixture.relay.metric("adit_sessions_open"), sessions + 1);
    assert_eq!(fixture.relay.metric("adit_tunnels_open"), tunnels + 1);
    let consumer = Consumer::plain(fixture.relay.http());
    let asking = tokio::spawn(async move { consumer.get(EVIL, "/").await });
    let request = http2.receive_kind(kind::HEADERS).await.unwrap();
    assert!(request.stream > control, "{} after {control}", request.stream);
    http2.send(&Http2Frame::headers(request.stream, 0x5, &[(":status", "204")])).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().status, 204);
}

#[tokio::test]
async fn what_follows_the_welcome_has_to_be_http2() {
    let (_service, fixture, hostile) = start().await;
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"",
    ];
    for bytes in garbage {
        let mut io = hostile.connect_session(&fixture).await;
        io.write_all(bytes).await.unwrap();
        io.flush().await.unwrap();
        let ends = async { while let Ok(1..) = io.read(&mut [0; 1024]).await {} };
        tokio::time::timeout(Duration::from_secs(30), ends).await.expect("it ends");
        fixture.assert_serves().await;
    }
    // A session that never answers the control stream.
    let io = hostile.connect_session(&fixture).await;
    let mut http2 = Http2Connection::server(io, &[]).await.unwrap();
    assert!(http2.ends().await);
    let answer = Consumer::plain(fixture.relay.http()).get(EVIL, "/").await.unwrap();
    assert!(matches!(answer.status, 404 | 503), "{}", answer.status);
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_control_stream_that_breaks_a_rule_ends_its_session() {
    let (_service, fixture, hostile) = start().await;
    let cases: [(&str, Vec<u8>); 8] = [
        ("no JSON", b"{]\n".to_vec()),
        ("an empty line", b"\n".to_vec()),
        ("no UTF-8", b"\xff\n".to_vec()),
        ("an unknown message", b"{\"type\":\"sudo\"}\n".to_vec()),
        ("a relay's message", b"{\"type\":\"move\",\"deadlineMs\":1}\n".to_vec()),
        ("deep JSON", format!("{}\n", "[".repeat(60_000)).into_bytes()),
        ("a long line", format!("{{\"type\":\"{}\"}}\n", "x".repeat(64 * 1024)).into_bytes()),
        ("an endless line", vec![b' '; 65 * 1024]),
    ];
    for (what, line) in cases {
        let mut http2 = hostile.open_session(&fixture, &[]).await;
        for chunk in line.chunks(16 * 1024) {
            http2.send(&Http2Frame::new(kind::DATA, 0, 1, chunk)).await.unwrap();
        }
        let said = http2.receive_kind(kind::DATA).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let said: Value = serde_json::from_slice(&said.payload).unwrap();
        assert_eq!(
            (&said["type"], &said["code"]),
            (&json!("close"), &json!("protocol_error")),
            "{what}: {said}"
        );
        assert!(http2.ends().await, "{what}");
    }
    fixture.assert_serves().await;
}

#[tokio::test]
async fn control_messages_about_what_is_not_ones_own_change_nothing() {
    let (_service, fixture, hostile) = start().await;
    let (tunnels, sessions) =
        (fixture.relay.metric("adit_tunnels_open"), fixture.relay.metric("adit_sessions_open"));
    let mut http2 = hostile.open_session(&fixture, &[]).await;
    let mut say = async |message: &Value| {
        let line = format!("{message}\n");
        http2.send(&Http2Frame::new(kind::DATA, 0, 1, line)).await.unwrap();
        http2
            .receive_kind(kind::DATA)
            .await
            .map(|frame| serde_json::from_slice::<Value>(&frame.payload).unwrap())
    };
    let open = |name: &str| json!({"type": "open", "tunnel": "tn_2", "kind": "http", "name": name});
    assert_eq!(say(&open("shop")).await.unwrap()["code"], "name_taken");
    assert_eq!(say(&open("a_b")).await.unwrap()["code"], "name_invalid");
    let port = json!({"type": "open", "tunnel": "tn_2", "kind": "tcp", "port": 22});
    assert_eq!(say(&port).await.unwrap()["code"], "kind_not_allowed");
    let renew = |proof: Value| json!({"type": "renew", "proof": proof});
    assert_eq!(say(&renew(token("x"))).await.unwrap()["code"], "token_malformed");
    let other = fixture.region.token(&fixture.relay, "somebody-else", &[]);
    let answer = say(&renew(token(&other))).await.unwrap();
    assert_eq!(answer["type"], "renewRefused", "another account's token: {answer}");
    // A tunnel that it does not serve, though another session of another account has that id.
    let close = |tunnel: &str| json!({"type": "close", "tunnel": tunnel});
    let id = "tn_unknown";
    let line = format!("{}\n{}\n", close(id), close("tn_1"));
    http2.send(&Http2Frame::new(kind::DATA, 0, 1, line)).await.unwrap();
    until("its own tunnel is closed", || fixture.relay.metric("adit_tunnels_open") == tunnels).await;
    fixture.assert_serves().await;
    let bye = control::encode(&ToRelay::Bye {}).unwrap();
    http2.send(&Http2Frame::new(kind::DATA, 0, 1, bye)).await.unwrap();
    until("its session has ended", || fixture.relay.metric("adit_sessions_open") == sessions).await;
    fixture.assert_serves().await;
}
