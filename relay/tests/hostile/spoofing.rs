//! Consumers and services that send header fields that only the relay may set.

use crate::{
    fixture::{publish, request},
    relay_fixture::HOST,
};
use adit_testkit::http::Service;
use serde_json::Value;

/// Header fields that consumers must not be able to set.
const SPOOFED: [&str; 24] = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Client-Cert",
    "X_Forwarded_For",
    "X-Forwarded_Proto",
    "Forwarded",
    "X-Real-IP",
    "X_Real_IP",
    "adit-tunnel",
    "Adit-Request-Id",
    "adit_tunnel",
    "adit-consumer",
    "adit-control",
    "adit-peer-endpoint",
    "adit-error",
    "adit-upgrade-ignored",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Content_Length",
    "Transfer_Encoding",
];

fn assert_honest(description: &Value, scheme: &str, port: u16) {
    let fields = description["headers"].as_array().unwrap();
    let said = |name: &str| {
        fields.iter().filter(|f| f[0] == name).map(|f| f[1].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(said("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(said("x-forwarded-proto"), [scheme]);
    assert_eq!(said("x-forwarded-host"), [HOST]);
    assert_eq!(said("x-forwarded-port"), [port.to_string()]);
    assert_eq!(said("forwarded").len(), 1);
    assert!(said("forwarded")[0].contains("127.0.0.1"), "{description}");
    assert_eq!(said("host"), [HOST]);
    assert!(fields.iter().all(|field| !field[1].as_str().unwrap().contains("spoofed")), "{description}");
    assert_eq!(said("x-kept"), ["yes"]);
}

#[tokio::test]
async fn a_consumer_cannot_say_what_only_the_relay_may_say() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let mut fields: String = SPOOFED.iter().map(|name| format!("{name}: spoofed, 6.6.6.6\r\n")).collect();
    fields
        .push_str("Connection: x-forwarded-for, forwarded, adit-tunnel, host, x-secret, content-length\r\n");
    fields.push_str("X-Secret: spoofed\r\nX-Kept: yes\r\n");
    let text = format!("GET /request HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
    let answer = fixture.consumer().send(&text).await.unwrap();
    assert_honest(&answer.json(), "http", fixture.relay.http().port());
    let answer = fixture.tls_consumer(&[b"http/1.1"]).send(&text).await.unwrap();
    assert_honest(&answer.json(), "https", fixture.relay.https().port());
    let mut head = request("GET", "/request").header("x-kept", "yes");
    for name in SPOOFED.iter().filter(|name| **name != "Proxy-Connection") {
        head = head.header(*name, "spoofed");
    }
    let mut http2 = fixture.http2().await;
    let (response, _) = http2.send_request(head.body(()).unwrap(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut bytes = vec![];
    while let Some(chunk) = body.data().await {
        bytes.extend(chunk.unwrap());
    }
    assert_honest(&serde_json::from_slice(&bytes).unwrap(), "https", fixture.relay.https().port());
}

#[tokio::test]
async fn a_service_cannot_speak_for_the_relay_or_to_the_connection() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    for name in [
        "adit-error",
        "adit-request-id",
        "adit-upgrade-ignored",
        "alt-svc",
        "proxy-authenticate",
        "keep-alive",
    ] {
        let answer = fixture.consumer().get(HOST, &format!("/header/{name}/unknown_host")).await.unwrap();
        assert_eq!((answer.status, answer.header(name)), (200, None), "{name}");
    }
    let cookie = "/header/set-cookie/a=b;Domain=adit.localhost;Path=%2F";
    let answer = fixture.consumer().get(HOST, cookie).await.unwrap();
    assert_eq!(answer.header("set-cookie"), Some("a=b;Path=/"));
}
