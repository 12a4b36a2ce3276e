//! Consumers that do not read what they asked for.

use crate::open_tunnel;
use adit_testkit::{
    http::{Consumer, Service},
    region::{DOMAIN, Region},
};
use std::{fs, io::Write, net::TcpStream};

const MIB: usize = 1024 * 1024;

/// The resident memory of a process in bytes.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn consumers_that_do_not_read_hold_a_window_of_the_relay_and_slow_nobody() {
    let region = Region::new(env!("CARGO_BIN_EXE_adit-relay"));
    let relay = region.start("a");
    let service = Service::start().await;
    let _tunnel = open_tunnel(&region, &relay, &service, "shop").await;
    let host = format!("shop.{DOMAIN}");
    let fast = Consumer::plain(relay.http());
    assert_eq!(fast.get(&host, &format!("/bytes/{MIB}")).await.unwrap().body.len(), MIB);
    let before = resident(relay.child.pid());

    let stalled: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut consumer = TcpStream::connect(relay.http()).unwrap();
            let head = format!("GET /bytes/{} HTTP/1.1\r\nhost: {host}\r\n\r\n", 1024 * MIB);
            consumer.write_all(head.as_bytes()).unwrap();
            consumer
        })
        .collect();
    // The fast one's bytes come on the same sessions: as many could have come for each of the others.
    for _ in 0..4 {
        let answer = fast.get(&host, &format!("/bytes/{}", 16 * MIB)).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 16 * MIB));
    }
    let held = resident(relay.child.pid()).saturating_sub(before);
    assert!(held < 48 * MIB, "the relay holds {} MiB for 8 consumers that do not read", held / MIB);
    drop(stalled);
}
