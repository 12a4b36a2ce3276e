//! A client that reconnects in a tight loop while it is being suspended.

use crate::fixture::{
    Provider, against, client_of, complaint, http_tunnel, judge, reconnect_in_a_loop, status, until_enforced,
    until_open,
};
use adit_store::{Decision, Filing};
use adit_testkit::{
    soak::{Record, scale},
    wait::until_async,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_reconnecting_offender_is_not_served_once_enforced() {
    let record = Record::begin("a client reconnects in a tight loop while it is suspended");
    let provider = Arc::new(Provider::start().await);
    let folder = tempfile::tempdir().unwrap();
    let host = provider.eu.host("shop");
    let first = client_of(&provider.eu, "eve")
        .state_dir(folder.path())
        .tunnel(http_tunnel(provider.service.address(), "shop"));
    let first = first.start().unwrap();
    until_open(&first).await;
    first.stop(Duration::from_secs(5)).await;

    let stop = Arc::new(AtomicBool::new(false));
    let reconnecting = reconnect_in_a_loop(provider.clone(), folder.path().to_owned(), "shop", stop.clone());
    let (rounds, mut after) = (scale(12, 1_000), 0);
    let mut filing = complaint("cpl-1", against("eve"), Decision::Acknowledged);
    for round in 0..rounds {
        until_async("the offender is served again", async || {
            status(provider.eu.relays[round % 2].http(), &host).await == 200
        })
        .await;
        filing.decision = Decision::Acknowledged;
        let acknowledged = judge(&provider.store, &filing).await;
        until_enforced(&provider.store, &acknowledged).await;
        for n in 0..20 {
            let status = status(provider.eu.relays[n % 2].http(), &host).await;
            assert_eq!(status, 403, "round {round}, request {n} after it was enforced");
            after += 1;
        }
        judge(&provider.store, &Filing { decision: Decision::Lifted, ..filing.clone() }).await;
    }
    stop.store(true, Ordering::Relaxed);
    let runs = reconnecting.await.unwrap();
    record.end(format!(
        "{rounds} rounds, {runs} connections, {after} requests after Enforced, none was served"
    ));
}
