//! The limit of streams between relays.

use crate::fixture::{FleetFixture, HOST};
use adit_testkit::{http::Consumer, postgres::Postgres, process::raise_open_file_limit, wait::until};
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_fills_its_links_leaves_room_for_others() {
    raise_open_file_limit(6_000);
    let fleet = FleetFixture::of_one_lane(Postgres::shared().database()).await;
    let entry = &fleet.relays[fleet.relay_without_session()];
    let consumer = Consumer::plain(entry.http());
    assert_eq!(consumer.get(HOST, "/").await.unwrap().status, 200);
    // An account has at most an eighth of a link, and two relays serve this one.
    let mut busy = vec![];
    let refused = loop {
        let before = fleet.service.requests();
        for _ in 0..50 {
            let mut tcp = TcpStream::connect(entry.http()).await.unwrap();
            tcp.write_all(format!("GET /sse/1 HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
            busy.push(tcp);
        }
        let asked = || fleet.service.requests() - before + entry.metric("adit_errors_total");
        let errors = entry.metric("adit_errors_total");
        until("all are on their way or refused", || asked() >= 50 + errors).await;
        let answer = consumer.get(HOST, "/").await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        assert!(busy.len() < 3_000, "{} streams went through the links", busy.len());
    };
    assert_eq!(
        (refused.status, refused.header("adit-error")),
        (503, Some("too_many_streams")),
        "{}",
        refused.text()
    );
    assert!(refused.header("retry-after").is_some());

    let other = fleet.client("other", "other").await;
    let through = || async { consumer.get("other.adit.localhost", "/").await.unwrap().status };
    let mut status = 0;
    for _ in 0..200 {
        status = through().await;
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200, "another account's streams have room");
    drop((other, busy));
    fleet.until_streams_ended().await;
    for _ in 0..50 {
        assert_eq!(consumer.get(HOST, "/").await.unwrap().status, 200);
    }
}
