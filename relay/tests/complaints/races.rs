//! A client that reconnects in a tight loop while it is being suspended.

use crate::place::{Provider, against, complaint, http, is_enforced, judge, status};
use adit_store::{Decision, Filing};
use adit_testkit::soak::{Record, scale};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_served_once_it_is_enforced_however_fast_the_offender_comes_back() {
    let record = Record::begin("a client reconnects in a tight loop while it is suspended");
    let provider = Arc::new(Provider::start().await);
    let folder = tempfile::tempdir().unwrap();
    let host = provider.eu.host("shop");
    let first = provider.eu.builder("eve").state_dir(folder.path()).tunnel(http(&provider.service, "shop"));
    let first = first.start().unwrap();
    crate::place::is_up(&first).await;
    first.stop(Duration::from_secs(5)).await;

    let stop = Arc::new(AtomicBool::new(false));
    let runs = Arc::new(AtomicU64::new(0));
    let reconnecting = tokio::spawn({
        let (provider, stop, runs) = (provider.clone(), stop.clone(), runs.clone());
        let folder = folder.path().to_owned();
        async move {
            while !stop.load(Ordering::Relaxed) {
                let spec = http(&provider.service, "shop");
                let client = provider.eu.without_token().state_dir(&folder).tunnel(spec).start().unwrap();
                runs.fetch_add(1, Ordering::Relaxed);
                // It goes a moment after it has been let in, and at once when it is refused.
                let tunnel = client.tunnels()[0].clone();
                let end = std::time::Instant::now() + Duration::from_secs(5);
                while client.url(&tunnel).is_none() && std::time::Instant::now() < end {
                    if tokio::time::timeout(Duration::from_millis(2), client.closed()).await.is_ok() {
                        break;
                    }
                }
                let moment = Duration::from_millis(rand::random_range(0..150));
                let _ = tokio::time::timeout(moment, client.closed()).await;
                drop(client);
            }
        }
    });
    let (rounds, mut after) = (scale(12, 1_000), 0);
    let mut filing = complaint("cpl-1", against("eve"), Decision::Acknowledged);
    for round in 0..rounds {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while status(provider.eu.relays[round % 2].http(), &host).await != 200 {
            assert!(std::time::Instant::now() < end, "round {round}: it is never served");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        filing.decision = Decision::Acknowledged;
        let acknowledged = judge(&provider.store, &filing).await;
        is_enforced(&provider.store, &acknowledged).await;
        for n in 0..20 {
            let status = status(provider.eu.relays[n % 2].http(), &host).await;
            assert_eq!(status, 403, "round {round}, request {n} after it was enforced");
            after += 1;
        }
        judge(&provider.store, &Filing { decision: Decision::Lifted, ..filing.clone() }).await;
    }
    stop.store(true, Ordering::Relaxed);
    reconnecting.await.unwrap();
    let runs = runs.load(Ordering::Relaxed);
    record.end(format!(
        "{rounds} rounds, {runs} connections, {after} requests after Enforced, none was served"
    ));
}
