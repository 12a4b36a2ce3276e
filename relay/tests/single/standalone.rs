//! One relay alone, a client of the library, a service, consumers.

use crate::relay_fixture::{HOST, RelayFixture, region};
use adit::Tunnel;
use adit_testkit::{
    http::{Consumer, Service},
    region::DOMAIN,
    wait::until_async,
};

#[tokio::test]
async fn a_request_reaches_the_service_and_its_answer_the_consumer() {
    let service = Service::start().await;
    let fixture = RelayFixture::start(region());
    let tunnel = fixture.publish(service.address()).await;
    assert_eq!(tunnel.url(), format!("https://{HOST}:{}", fixture.relay.https().port()));
    for consumer in [fixture.consumer(), fixture.tls_consumer(&[b"http/1.1"])] {
        let answer = consumer.get(HOST, "/echo").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_websocket_is_carried_in_clear_and_by_tls() {
    let service = Service::start().await;
    let fixture = RelayFixture::publishing(region(), service.address()).await;
    for consumer in [fixture.consumer(), fixture.tls_consumer(&[b"http/1.1"])] {
        let mut socket = consumer.websocket(HOST, "/ws").await.expect("the service accepts");
        for payload in [vec![7; 10], vec![9; 100_000]] {
            socket.send(2, payload.clone()).await.expect("it is open");
            assert!(socket.receive().await.expect("an echo").payload == payload);
        }
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_and_a_cut_answer_is_seen_as_cut() {
    let service = Service::start().await;
    let fixture = RelayFixture::publishing(region(), service.address()).await;
    let consumer = fixture.consumer();
    let upload = [
        format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 300000\r\n\r\n").into_bytes(),
        vec![b'x'; 300_000],
    ];
    let answer = consumer.send(upload.concat()).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = consumer.get(HOST, "/bytes/3000000").await.expect("an answer");
    assert_eq!(answer.body.len(), 3_000_000);
    let asked = format!("GET /trailers HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\nconnection: te\r\n\r\n");
    let answer = consumer.send(asked).await.expect("an answer");
    assert!(!answer.trailers.is_empty());
    let cut = consumer.get(HOST, "/cut/100000").await;
    assert!(cut.is_err(), "a body that broke off must not look whole: {cut:?}");
}

#[tokio::test]
async fn what_cannot_be_served_is_said_clearly() {
    let service = Service::start().await;
    let fixture = RelayFixture::start(region().with("limits: {requestsPerSecond: 5, burst: 5}"));
    let tunnel = fixture.publish(service.address()).await;
    let consumer = fixture.consumer();
    let unknown = consumer.get("nobody.adit.localhost", "/").await.expect("an answer");
    assert_eq!((unknown.status, unknown.header("adit-error")), (404, Some("unknown_host")));
    let tls = fixture.tls_consumer(&[b"http/1.1"]);
    let misdirected = tls.get("other.adit.localhost", "/").await.expect("an answer");
    assert_eq!((misdirected.status, misdirected.header("adit-error")), (421, Some("misdirected")));
    let at_once: Vec<_> = (0..50)
        .map(|_| {
            let consumer = consumer.clone();
            tokio::spawn(async move { consumer.get(HOST, "/").await.expect("an answer") })
        })
        .collect();
    let mut limited = None;
    for asked in at_once {
        let answer = asked.await.expect("no panic");
        limited = limited.or(Some(answer).filter(|answer| answer.status != 200));
    }
    let limited = limited.expect("fifty requests at once are more than five a second");
    assert_eq!((limited.status, limited.header("adit-error")), (429, Some("rate_limited")));
    assert!(limited.header("retry-after").is_some());
    tunnel.close(std::time::Duration::from_secs(1)).await;
    // The relay learns of the end a moment after the client has said it.
    until_async("the tunnel is closed", async || {
        matches!(consumer.get(HOST, "/").await.expect("an answer").status, 404 | 503)
    })
    .await;
}

#[tokio::test]
async fn a_taken_name_a_used_token_and_another_region_are_refused() {
    let service = Service::start().await;
    let fixture = RelayFixture::publishing(region(), service.address()).await;
    let RelayFixture { relay, region, .. } = &fixture;
    let token = region.token(relay, "other", &[]);
    let builder = |token: &str, name: &str| {
        Tunnel::http(service.address().to_string())
            .name(name)
            .relay(format!("{DOMAIN}:{}", relay.https().port()))
            .token(token.to_owned())
            .ca(region.ca())
    };
    let taken = builder(&token, "shop").open().await.expect_err("the name is taken");
    assert!(format!("{taken:?}").contains("name_taken"), "{taken:?}");
    let used = builder(&token, "mine").open().await.expect_err("the token has been used by another key");
    assert!(format!("{used:?}").contains("token_used"), "{used:?}");
    let next = "on the relay's machine: adit-relay token --account NAME > token";
    assert!(format!("{used:?}").contains(next), "{used:?}");
    let other = Tunnel::http(service.address().to_string())
        .relay(format!("connect.{DOMAIN}:{}", relay.https().port()))
        .token(token)
        .ca(region.ca());
    let other = format!("{:?}", other.open().await.expect_err("another region's name"));
    assert!(other.contains("certificate_invalid") && !other.contains("alert"), "{other}");
}

#[tokio::test]
async fn a_tcp_tunnel_keeps_half_closes_apart_from_resets() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = RelayFixture::start(region());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (_tunnel, port) = fixture.publish_tcp(listener.local_addr().expect("an address")).await;
    let RelayFixture { relay, region, .. } = &fixture;
    assert!(region.tcp_ports().contains(&port));

    let mut consumer = tokio::net::TcpStream::connect(relay.tcp(port)).await.expect("the port is open");
    let (mut service, _) = listener.accept().await.expect("the connection arrives");
    consumer.write_all(b"question").await.expect("it is open");
    consumer.shutdown().await.expect("it is open");
    let mut question = vec![];
    service.read_to_end(&mut question).await.expect("a half-close is an end");
    assert_eq!(question, b"question");
    service.write_all(b"answer").await.expect("the other half is open");
    drop(service);
    let mut answer = vec![];
    consumer.read_to_end(&mut answer).await.expect("an end");
    assert_eq!(answer, b"answer");

    let mut consumer = tokio::net::TcpStream::connect(relay.tcp(port)).await.expect("the port is open");
    let (service, _) = listener.accept().await.expect("the connection arrives");
    service.set_zero_linger().expect("it is a TCP connection");
    drop(service);
    let reset = consumer.read_to_end(&mut vec![]).await;
    assert!(reset.is_err(), "a reset must not look like an end");
}

#[tokio::test]
async fn a_service_is_told_the_port_that_was_bound() {
    let region = region().env("ADIT_LISTEN_HTTPS", "127.0.0.1:0");
    let relay = region.start("a");
    let output = std::fs::read_to_string(relay.config.with_file_name("output")).unwrap();
    let line = output.lines().find_map(|line| line.trim().strip_prefix("https")).unwrap();
    let bound: std::net::SocketAddr = line.split_whitespace().next().unwrap().parse().unwrap();
    let service = Service::start().await;
    let tunnel =
        Tunnel::http(service.address().to_string()).name("shop").relay(format!("{DOMAIN}:{}", bound.port()));
    let token = region.token(&relay, "ci", &[]);
    let _tunnel = tunnel.token(token).ca(region.ca()).open().await.expect("the tunnel opens");
    let consumer = Consumer::tls(bound, HOST, &region.ca(), &[b"http/1.1"]);
    let answer = consumer.get(HOST, "/request").await.unwrap();
    let echo: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    let headers = echo["headers"].as_array().unwrap();
    let port = headers.iter().find(|header| header[0] == "x-forwarded-port").unwrap();
    assert_eq!(port[1], bound.port().to_string().as_str());
}
