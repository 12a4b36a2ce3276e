//! A relay whose file descriptors are used up.

use crate::{
    fixture::{FaultFixture, HOST},
    relay_fixture::region,
};
use adit::Tunnel;
use adit_testkit::{
    process::raise_open_file_limit,
    wait::{until, until_done},
};
use std::{fs, time::Duration};
use tokio::net::TcpStream;

/// Processor time of a process, in hundredths of a second, as in proc(5).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_free_file_descriptors_recovers() {
    raise_open_file_limit(2_000);
    let region = region().with("limits: {requestsPerSecond: 1000000}").max_open_files(200);
    let fixture = FaultFixture::in_region(region).await;
    let _tunnel = fixture.publish_service().await;
    let mut wire = fixture.consumer().connect().await.unwrap();
    let request = format!("GET /bytes/1000 HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    assert_eq!(wire.send(request.as_bytes()).await.unwrap().status, 200);

    // More than it can ever accept, on both ports; they say nothing.
    let mut idle = vec![];
    for address in [fixture.relay.http(), fixture.relay.https()] {
        for _ in 0..300 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
    }
    // Whom it has it goes on serving.
    for _ in 0..100 {
        assert_eq!(wire.send(request.as_bytes()).await.unwrap().status, 200);
    }
    // And no processor runs hot while nothing happens; one that did would have a good share of this time, however busy
    // the machine is.
    let pid = fixture.relay.child.pid();
    let before = ticks(pid);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = ticks(pid) - before;
    assert!(used < 50, "{used} hundredths of a second for nothing");
    assert_eq!(wire.send(request.as_bytes()).await.unwrap().status, 200);
    assert_eq!(fixture.sessions_closed(), 0);
    // What the operator and clients need is kept free.
    assert!(files(pid) < 200, "{} are open", files(pid));
    assert_eq!(fixture.relay.get_ops("/readyz").expect("the ops port answers").0, 200);
    let second =
        fixture.tunnel("ci", Tunnel::http(fixture.service.address().to_string()).name("second")).open();
    let second = until_done("the client is let in", second).await.unwrap();
    drop(second);

    drop(idle);
    until("the places are free", || fixture.relay.metric("adit_connections_open") <= 1).await;
    fixture.assert_answers(20).await;
    assert_eq!(fixture.tls_consumer(&[b"http/1.1"]).get(HOST, "/").await.unwrap().status, 200);
}
