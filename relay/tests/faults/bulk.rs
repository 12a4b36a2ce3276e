//! Requests beside a download.

use crate::fixture::{FaultFixture, HOST};
use adit_testkit::{http::ConsumerConnection, wait::until};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

const MIB: usize = 1024 * 1024;
/// Number of requests beside the download: few enough that its session stays the worse choice.
const BESIDE: usize = 15;

/// Downloads until the task is aborted. Returns the task and the number of bytes so far.
async fn download(fixture: &FaultFixture) -> (JoinHandle<()>, Arc<AtomicUsize>) {
    let mut tcp = TcpStream::connect(fixture.relay.http()).await.unwrap();
    tcp.write_all(&get(&format!("/bytes/{}", usize::MAX / 2))).await.unwrap();
    let bytes = Arc::new(AtomicUsize::new(0));
    let come = bytes.clone();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = tcp.read(&mut buffer).await.unwrap();
            assert!(read > 0, "it has ended");
            come.fetch_add(read, Ordering::Relaxed);
        }
    });
    (task, bytes)
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n").into_bytes()
}

/// Number of streams of each session.
fn streams(fixture: &FaultFixture) -> HashMap<String, u64> {
    let list = fixture.admin_output(&["sessions", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let sessions = list.as_array().unwrap().iter();
    sessions.map(|one| (one["session"].to_string(), one["streams"].as_u64().unwrap())).collect()
}

/// The system spreads consumers' connections among the lanes, and each lane has a session of its own. Those that were there
/// before the download stay on its lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beside_a_download_take_another_session() {
    let fixture = FaultFixture::start("lanes: 2\nlimits: {requestsPerSecond: 100000}").await;
    let _tunnel = fixture.publish_service().await;
    until("the client has a session on each lane", || fixture.relay.metric("adit_sessions_open") == 2).await;
    let mut consumers = vec![];
    for _ in 0..BESIDE {
        let mut consumer = fixture.consumer().connect().await.unwrap();
        assert_eq!(consumer.send(&get("/")).await.unwrap().status, 200);
        consumers.push(consumer);
    }
    let (download, bytes) = download(&fixture).await;
    until("much has come", || bytes.load(Ordering::Relaxed) > 32 * MIB).await;
    let (its_session, _) = streams(&fixture).into_iter().find(|(_, streams)| *streams == 1).unwrap();
    let before = fixture.service.requests();
    let ask =
        |mut consumer: ConsumerConnection| tokio::spawn(async move { consumer.send(&get("/hang")).await });
    let asked: Vec<_> = consumers.into_iter().map(ask).collect();
    until("the service has all requests", || fixture.service.requests() == before + BESIDE as u64).await;
    let streams = streams(&fixture);
    assert_eq!(streams.values().sum::<u64>(), 1 + BESIDE as u64);
    // A download that has paused for a tenth of a second is no bulk meanwhile: one or two may have been there then.
    let there = streams[&its_session] - 1;
    assert!(there <= 3, "{there} of {BESIDE} requests are behind the download");
    assert!(!download.is_finished());
    download.abort();
    asked.iter().for_each(JoinHandle::abort);
}
