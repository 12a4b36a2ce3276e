//! WebSockets and other Upgrades through the client to a service.

use crate::relay::{Relay, Session, http, read_all, soon};
use adit_mux::ConnectProtocol;
use adit_testkit::http::Service;
use bytes::Bytes;
use http::Request;

fn upgrade(session: &Session, protocol: &'static str, path: &str) -> Request<()> {
    let mut request = session.request("CONNECT", path).body(()).unwrap();
    request.extensions_mut().insert(ConnectProtocol::from(protocol));
    request
}

#[tokio::test]
async fn a_websocket_without_a_key_of_its_own_gets_one() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let mut request = upgrade(&session, "websocket", "/ws");
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    let (response, mut to) = session.open(request, false).await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    // A masked text frame "hi", with a mask of zeros.
    to.send_data(Bytes::from_static(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']), false).unwrap();
    let mut from = response.into_body();
    let mut echoed = vec![];
    while echoed.len() < 4 {
        echoed.extend_from_slice(&soon(from.data()).await.unwrap().unwrap());
    }
    assert_eq!(echoed, [0x81, 0x02, b'h', b'i']);
}

#[tokio::test]
async fn a_consumers_key_is_answered_by_the_service() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let mut request = upgrade(&session, "websocket", "/ws");
    // The example of RFC 6455 section 1.3.
    request.headers_mut().insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
    let (response, _to) = session.open(request, false).await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[tokio::test]
async fn any_protocol_switches_and_ends_on_both_sides() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let (response, mut to) = session.open(upgrade(&session, "made-up/2", "/upgrade"), false).await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    to.send_data(Bytes::from_static(b"over and out"), true).unwrap();
    assert_eq!(soon(read_all(response.into_body())).await.unwrap(), b"over and out");
}

#[tokio::test]
async fn a_refusal_and_the_answer_to_an_ignored_upgrade_are_passed_on() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    let (response, _to) = session.open(upgrade(&session, "websocket", "/status/403"), false).await;
    assert_eq!(soon(response).await.unwrap().status(), 403);
    // A service may ignore an Upgrade: its answer is then the answer, and says so.
    let (response, _to) = session.open(upgrade(&session, "websocket", "/"), false).await;
    let response = soon(response).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["adit-upgrade-ignored"]),
        (200, &"1".parse().unwrap())
    );
    assert_eq!(soon(read_all(response.into_body())).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_protocol_whose_name_is_none_reaches_no_service() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    for name in ["", " ", "web socket", "a, b", "a/b/c", "a\r\nx: y", "/", "w\u{e9}", "a\0"] {
        let mut request = session.request("CONNECT", "/ws").body(()).unwrap();
        request.extensions_mut().insert(ConnectProtocol::from(name));
        let (response, _to) = session.open(request, false).await;
        // What HTTP/2 itself does not allow is refused there.
        if let Ok(response) = soon(response).await {
            assert_eq!(response.status(), 400, "{name:?}");
        }
    }
    assert_eq!(service.requests(), 0);
    assert_eq!(session.get("/").await.1, b"hello");
}
