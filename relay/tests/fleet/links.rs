//! The first requests that need a link to a peer.

use crate::fixture::{FleetFixture, HOST};
use adit_testkit::{http::Consumer, wait::until_ok};
use std::{net::SocketAddr, time::Duration};
use tokio::task::JoinHandle;

/// Number of requests at once.
const AT_ONCE: usize = 200;
/// Maximum number of links to two peers, over all lanes.
const LINKS: u64 = 8;

/// Sends so many requests at once to a relay that may not know the tunnel yet.
fn at_once(entry: SocketAddr, requests: usize) -> Vec<JoinHandle<(u16, String)>> {
    let ask = || {
        until_ok("the relay knows the tunnel", move || async move {
            let answer = Consumer::plain(entry).get(HOST, "/").await.unwrap();
            let code = answer.header("adit-error").unwrap_or_default().to_owned();
            if code == "unknown_host" { Err(answer) } else { Ok((answer.status, code)) }
        })
    };
    (0..requests).map(|_| tokio::spawn(ask())).collect()
}

async fn all_are_answered(requests: Vec<JoinHandle<(u16, String)>>) {
    for request in requests {
        assert_eq!(request.await.unwrap(), (200, String::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_at_once_share_the_links() {
    let fleet = FleetFixture::with_unused_links().await;
    let stranger = &fleet.relays[fleet.relay_without_session()];
    all_are_answered(at_once(stranger.http(), AT_ONCE)).await;
    let dials = stranger.metric("adit_peer_dials_total");
    assert!((1..=LINKS).contains(&dials), "{dials} dials for {AT_ONCE} requests");
    assert_eq!(stranger.metric("adit_peer_failures_total"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_a_link_when_no_other_peer_can_serve() {
    let mut fleet = FleetFixture::with_unused_links().await;
    let stranger = fleet.relay_without_session();
    let entry = fleet.relays[stranger].http();
    let homes: Vec<usize> = (0..fleet.relays.len()).filter(|index| *index != stranger).collect();
    homes.iter().for_each(|home| fleet.relays[*home].child.stop());
    let requests = at_once(entry, 20);
    // Much longer than a relay waits for a peer while there is another one to try.
    tokio::time::sleep(Duration::from_secs(1)).await;
    homes.iter().for_each(|home| fleet.relays[*home].child.cont());
    all_are_answered(requests).await;
}
