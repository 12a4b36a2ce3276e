//! Consumers that do not read the answers to their requests.

use crate::relay_fixture::{HOST, RelayFixture, region};
use adit_testkit::http::Service;
use std::{io::Write, net::TcpStream};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn consumers_that_do_not_read_hold_one_window_each() {
    let service = Service::start().await;
    let fixture = RelayFixture::publishing(region(), service.address()).await;
    let fast = fixture.consumer();
    assert_eq!(fast.get(HOST, &format!("/bytes/{MIB}")).await.unwrap().body.len(), MIB);
    let before = fixture.relay.child.resident_bytes();

    let stalled: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut consumer = TcpStream::connect(fixture.relay.http()).unwrap();
            let head = format!("GET /bytes/{} HTTP/1.1\r\nhost: {HOST}\r\n\r\n", 1024 * MIB);
            consumer.write_all(head.as_bytes()).unwrap();
            consumer
        })
        .collect();
    // The fast one's bytes come on the same sessions: as many could have come for each of the others.
    for _ in 0..4 {
        let answer = fast.get(HOST, &format!("/bytes/{}", 16 * MIB)).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 16 * MIB));
    }
    let held = fixture.relay.child.resident_bytes().saturating_sub(before);
    assert!(held < 48 * MIB, "the relay holds {} MiB for 8 consumers that do not read", held / MIB);
    drop(stalled);
}
