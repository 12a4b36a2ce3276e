//! A Postgres whose place another takes, while connections to the one that it was stay open.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/place.rs"]
mod place;

use adit_protocol::Account;
use adit_store::{Store, StoreError, Suspended, Suspension, Wakeups};
use adit_testkit::{postgres::Postgres, proxy::Proxy};
use place::{LONG, NOW, until, wish};
use std::time::Instant;

fn suspension(id: &str) -> Suspension {
    Suspension {
        id: id.to_owned(),
        target: Suspended::Account(Account::managed(id)),
        until: None,
        reason: "phishing".to_owned(),
        complaint: None,
        since: NOW,
        hostnames: vec![],
    }
}

/// What the store answers once it does: on a busy machine a call may take longer than it is given.
async fn patient<T, E: std::fmt::Debug>(call: impl AsyncFn() -> Result<T, E>) -> T {
    let end = Instant::now() + LONG;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < end, "{error:?}"),
        }
    }
}

async fn started() -> (Postgres, String, Postgres) {
    tokio::task::spawn_blocking(Postgres::pair).await.unwrap()
}

/// What a standby knows may be old, and nobody can say how old: who was suspended a moment ago would be let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_not_taken_for_the_store() {
    let (mut first, url, mut second) = started().await;
    let beside = Store::open(&url.parse().unwrap()).unwrap();
    beside.migrate().await.unwrap();
    patient(async || beside.suspend(&suspension("s-1")).await).await;

    let proxy = Proxy::start(second.port()).await;
    let store = Store::open(&proxy.url(&url).parse().unwrap()).unwrap();
    let mut changes = store.changes();
    changes.next().await;
    let read = store.suspensions(NOW).await;
    assert!(matches!(read, Err(StoreError::Unreachable(_) | StoreError::Timeout)), "{read:?}");
    let ping = store.ping().await;
    assert!(matches!(ping, Err(StoreError::Unreachable(_) | StoreError::Timeout)), "{ping:?}");
    assert_eq!(store.wakeups(), Wakeups::PollingOnly);

    first.crash();
    second.promote();
    until("it is the store now", async || store.ping().await.is_ok()).await;
    let read = patient(async || store.suspensions(NOW).await).await;
    assert_eq!(read.list.len(), 1, "what was acknowledged is there");
    assert_eq!(patient(async || store.reserve(&wish("shop", "ada", "i-1")).await).await.generation, 1);
    until("notifications arrive", async || store.wakeups() == Wakeups::Notified).await;
}

/// The first server is cut off from the second one and from those who decide which of them is the store, and not from
/// those who use it: their connections stay, it answers whatever they read, and no change of theirs is ever acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_acknowledges_no_change_any_more_is_not_read_from_either() {
    let (first, url, mut second) = started().await;
    let proxy = Proxy::start(first.port()).await;
    let store = Store::open(&proxy.url(&url).parse().unwrap()).unwrap();
    store.migrate().await.unwrap();
    for round in 0..20 {
        // Both connections are in use.
        let (a, b) = (wish(&format!("a{round}"), "ada", "i"), wish(&format!("b{round}"), "bob", "i"));
        let reserve = async |wish| patient(async || store.reserve(wish).await).await.generation;
        assert_eq!(tokio::join!(reserve(&a), reserve(&b)), (1, 1));
    }

    second.promote();
    proxy.lead_to(second.port());
    let beside = Store::open(&proxy.url(&url).parse().unwrap()).unwrap();
    let version = patient(async || beside.suspend(&suspension("s-1")).await).await;
    let lost = store.reserve(&wish("lost", "ada", "i")).await;
    assert!(lost.is_err(), "no other server has it: {lost:?}");
    // One connection showed it; what the other one leads to is no better.
    let read = patient(async || store.suspensions(NOW).await).await;
    assert_eq!((read.version, read.list.len()), (version, 1));
    let reserved = patient(async || store.reserve(&wish("lost", "bob", "i")).await).await;
    assert_eq!(reserved.generation, 1, "nobody has had it");
    drop(first);
}
