//! Many consumers that leave at once.

use crate::{
    consumers::{ConsumerKind, start_consumers},
    fixture::FaultFixture,
};
use adit_testkit::{
    process::raise_open_file_limit,
    soak::{Record, scale},
    wait::until,
};

/// Enough for a thousand consumers, the client's and the service's connections, and those whose end the service has not
/// noticed yet.
const FILES: u64 = 6_000;

const LIMITS: &str = "limits: {requestsPerSecond: 1000000, streams: 10000}";

/// Starts consumers that all abort at once, and asserts that the relay holds nothing of them afterwards.
async fn leave_at_once(name: &'static str, kinds: &[(ConsumerKind, usize)]) {
    raise_open_file_limit(scale(FILES, 2 * FILES));
    let record = Record::begin(name);
    let fixture = FaultFixture::start(LIMITS).await;
    let (_http, (_tcp, port)) = (fixture.publish_service().await, fixture.publish_service_tcp().await);
    fixture.assert_answers(1).await;
    let keeper = fixture.consumer().connect().await.unwrap();
    drop(keeper);
    until("nothing is under way", || fixture.relay.metric("adit_connections_open") == 0).await;
    let before = fixture.counts();
    let rounds = scale(2, 20);
    let mut left = 0;
    for _ in 0..rounds {
        let mut consumers = vec![];
        for (kind, count) in kinds {
            consumers.extend(start_consumers(&fixture, *kind, *count, port).await);
        }
        left += consumers.len();
        let streams = fixture.relay.metric("adit_streams_open");
        assert_eq!(streams, consumers.len() as u64, "all are under way");
        consumers.into_iter().enumerate().for_each(|(number, one)| one.abort(number));
        fixture.assert_answers(20).await;
        fixture.until_back_to(&before).await;
        // What the client and the service held for them is given back too; a few connections are kept for later requests.
        until("its connections with the service end", || fixture.service_connections() <= 8).await;
    }
    record.end(format!("{left} consumers left in {rounds} batches, no session ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_consumers_of_every_kind_leave_at_once() {
    let kinds = [
        ConsumerKind::Download,
        ConsumerKind::Upload,
        ConsumerKind::Wait,
        ConsumerKind::Http2,
        ConsumerKind::Tcp,
    ];
    leave_at_once("a thousand consumers of every kind leave at once", &kinds.map(|kind| (kind, 200))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_downloads_are_cut_at_once() {
    leave_at_once("a thousand downloads are cut at once", &[(ConsumerKind::Download, 1000)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_uploads_are_cut_at_once() {
    leave_at_once("a thousand uploads are cut at once", &[(ConsumerKind::Upload, 1000)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_http2_streams_are_reset_at_once() {
    leave_at_once("a thousand HTTP/2 streams are reset at once", &[(ConsumerKind::Http2, 1000)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tcp_connections_are_cut_at_once() {
    leave_at_once("a thousand TCP connections are cut at once", &[(ConsumerKind::Tcp, 1000)]).await;
}
