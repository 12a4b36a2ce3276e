//! Slow consumers beside fast ones.

use crate::{
    consumers::{connect_stalled, http2_connection},
    fixture::{FaultFixture, HOST},
};
use adit_testkit::{process::raise_open_file_limit, wait::until};
use std::collections::HashSet;
use tokio::{io::AsyncReadExt, net::TcpStream};

const MIB: usize = 1024 * 1024;

/// One lane: the client has one session, which all streams share.
const ONE_SESSION: &str = "lanes: 1\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")
}

async fn stall(fixture: &FaultFixture, count: usize, bytes: usize) -> Vec<TcpStream> {
    let mut all = vec![];
    for _ in 0..count {
        all.push(connect_stalled(fixture.relay.http(), &get(&format!("/bytes/{bytes}"))).await);
    }
    all
}

/// Reads to the end. Returns the number of bytes, head included, and whether the connection ended in order.
async fn rest(mut tcp: TcpStream) -> (usize, bool) {
    let (mut bytes, mut buffer) = (0, vec![0; 256 * 1024]);
    loop {
        match tcp.read(&mut buffer).await {
            Ok(0) => return (bytes, true),
            Ok(read) => bytes += read,
            Err(_) => return (bytes, false),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_consumer_finishes_beside_a_slow_one_on_its_session() {
    let fixture = FaultFixture::start(&format!("{ONE_SESSION}limits: {{requestsPerSecond: 100000}}")).await;
    let _tunnel = fixture.publish_service().await;
    let slow = connect_stalled(
        fixture.relay.http(),
        &format!("GET /bytes/{} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n", 64 * MIB),
    )
    .await;
    let mut wire = fixture.consumer().connect().await.unwrap();
    for _ in 0..300 {
        let answer = wire.send(get("/bytes/100000").as_bytes()).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    }
    // A stream is counted until a moment after its answer's end.
    until("the slow one alone is still at it", || fixture.relay.metric("adit_streams_open") == 1).await;
    // However late it reads, it gets all of it.
    let (bytes, orderly) = rest(slow).await;
    assert!(bytes > 64 * MIB && orderly, "{bytes} bytes, orderly: {orderly}");
    assert_eq!(fixture.sessions_closed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_stalled_readers_do_not_hold_up_their_session() {
    raise_open_file_limit(4_000);
    let limits = "limits: {requestsPerSecond: 100000, streams: 10000, bufferBytes: 2GiB}";
    let fixture = FaultFixture::start(&format!("{ONE_SESSION}{limits}")).await;
    let _tunnel = fixture.publish_service().await;
    fixture.assert_answers(1).await;
    until("nothing is under way", || fixture.relay.metric("adit_connections_open") == 0).await;
    let before = fixture.counts();
    let stalled = stall(&fixture, 400, 64 * MIB).await;
    let unread = || fixture.relay.metric("adit_buffered_bytes");
    // A window holds 512 KiB, of which the sockets on the way to a consumer take some.
    until("most of their windows are full", || unread() > 100 * MIB as u64).await;
    fixture.assert_answers(100).await;
    let mut wire = fixture.consumer().connect().await.unwrap();
    let answer = wire.send(get(&format!("/bytes/{}", 8 * MIB)).as_bytes()).await.unwrap();
    assert_eq!(answer.body.len(), 8 * MIB);
    drop(wire);
    until("the stalled streams are left", || fixture.relay.metric("adit_streams_open") == 400).await;
    assert_eq!(fixture.relay.metric("adit_streams_shed_total"), 0);
    drop(stalled);
    fixture.until_back_to(&before).await;
    fixture.assert_answers(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_unread_bytes_cost_an_account_its_fullest_streams() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 100000, bufferBytes: 4MiB}").await;
    let _tunnel = fixture.publish_service().await;
    fixture.assert_answers(1).await;
    until("nothing is under way", || fixture.relay.metric("adit_connections_open") == 0).await;
    let before = fixture.counts();
    let readers = stall(&fixture, 24, 64 * MIB).await;
    let shed = || fixture.relay.metric("adit_streams_shed_total");
    let unread = || fixture.relay.metric("adit_buffered_bytes");
    until("streams are shed", || shed() > 0).await;
    fixture.assert_answers(50).await;
    // Accounts count in grains of 32 KiB, rounded down for each stream.
    until("the others fit", || {
        unread() <= (4 * MIB + 24 * 32 * 1024) as u64
            && shed() + fixture.relay.metric("adit_streams_open") == 24
    })
    .await;
    let cut = shed() as usize;
    assert!((1..24).contains(&cut), "{cut} of 24 streams were cut");
    // One that was cut sees that it was; the others get everything as soon as they read.
    let mut whole = 0;
    for reader in readers {
        let (bytes, _) = rest_of_one(reader, 64 * MIB).await;
        whole += usize::from(bytes > 64 * MIB);
    }
    assert_eq!(whole, 24 - cut - (shed() as usize - cut));
    fixture.until_back_to(&before).await;
    until("the access log says why", || {
        let log = fixture.relay.access_log();
        log.iter().filter(|line| line["code"] == "buffer_full").count() as u64 == shed()
    })
    .await;
    let errors = fixture.relay.metric("adit_errors_total{code=\"buffer_full\"}");
    assert_eq!(errors, shed());
    fixture.assert_answers(10).await;
}

/// A consumer that never reads a byte of any body: the unread bytes count as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_nobody_begins_to_read_count_too() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 100000, bufferBytes: 4MiB}").await;
    let _tunnel = fixture.publish_service().await;
    let shed = || fixture.relay.metric("adit_streams_shed_total");
    let fits = || fixture.relay.metric("adit_buffered_bytes") <= (4 * MIB + 24 * 32 * 1024) as u64;
    // No window at all.
    let opener = crate::consumers::http2_with_window(&fixture, 0).await;
    let mut unread = vec![];
    for _ in 0..24 {
        // Who is cut off loses the whole connection.
        let Ok(mut opener) = opener.clone().ready().await else { break };
        let path = format!("https://{HOST}/bytes/{}", 64 * MIB);
        let request = http::Request::get(path).body(()).unwrap();
        let Ok((response, _)) = opener.send_request(request, true) else { break };
        let Ok(response) = response.await else { break };
        unread.push(response);
    }
    until("streams are shed", || shed() > 0).await;
    until("the others fit", fits).await;
    fixture.assert_answers(20).await;
    assert_eq!(fixture.sessions_closed(), 0);
}

/// Reads one answer of so many bytes. Returns the bytes read, and whether the connection ended in order.
async fn rest_of_one(mut tcp: TcpStream, body: usize) -> (usize, bool) {
    let (mut bytes, mut buffer) = (0, vec![0; 256 * 1024]);
    while bytes <= body {
        match tcp.read(&mut buffer).await {
            Ok(0) => return (bytes, true),
            Ok(read) => bytes += read,
            Err(_) => return (bytes, false),
        }
    }
    (bytes, true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_tcp_consumers_that_are_cut_see_a_reset() {
    let fixture = FaultFixture::start("limits: {requestsPerSecond: 100000, bufferBytes: 1MiB}").await;
    let (_tunnel, port) = fixture.publish_service_tcp().await;
    let request = format!("GET /bytes/{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 64 * MIB);
    let mut readers = vec![];
    for _ in 0..8 {
        readers.push(connect_stalled(fixture.relay.tcp(port), &request).await);
    }
    let shed = || fixture.relay.metric("adit_streams_shed_total");
    until("streams are shed", || shed() > 0 && shed() + fixture.relay.metric("adit_streams_open") == 8).await;
    let mut cut = 0;
    for reader in readers {
        let (bytes, orderly) = rest(reader).await;
        assert_eq!(orderly, bytes > 64 * MIB, "{bytes} bytes came, and the end looked orderly: {orderly}");
        cut += u64::from(!orderly);
    }
    assert_eq!(cut, shed());
    until("the access log says why", || {
        let log = fixture.relay.access_log();
        log.iter().filter(|line| line["code"] == "buffer_full").count() as u64 == shed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_http2_stream_does_not_hold_up_the_others() {
    let fixture = FaultFixture::start(&format!("{ONE_SESSION}limits: {{requestsPerSecond: 100000}}")).await;
    let _tunnel = fixture.publish_service().await;
    let opener = http2_connection(&fixture).await;
    let ask = async |path: &str| {
        let mut opener = opener.clone().ready().await.unwrap();
        let request = http::Request::get(format!("https://{HOST}{path}")).body(()).unwrap();
        opener.send_request(request, true).unwrap().0.await.unwrap().into_body()
    };
    let mut stalled = vec![];
    for _ in 0..8 {
        stalled.push(ask(&format!("/bytes/{}", 64 * MIB)).await);
    }
    let mut ids = HashSet::new();
    for _ in 0..100 {
        let mut body = ask("/bytes/30000").await;
        ids.insert(body.stream_id());
        let mut bytes = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            bytes += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(bytes, 30_000);
    }
    assert_eq!(ids.len(), 100);
    until("the stalled streams alone are left", || {
        fixture.relay.metric("adit_streams_open") == stalled.len() as u64
    })
    .await;
}
