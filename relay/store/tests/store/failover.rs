//! A failover of Postgres while connections to the former primary stay open.

use crate::fixture::{NOW, reservation};
use adit_protocol::Account;
use adit_store::{Store, StoreError, Suspended, Suspension, Wakeups};
use adit_testkit::{
    postgres::Postgres,
    postgres_proxy::PostgresProxy,
    wait::{until_async, until_ok},
};
use std::fmt::Debug;

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

/// Repeats a call until it succeeds: on a busy machine one call may exceed its time limit.
async fn retry<T, E: Debug, F: Future<Output = Result<T, E>>>(call: impl FnMut() -> F) -> T {
    until_ok("the store answers", call).await
}

async fn started() -> (Postgres, String, Postgres) {
    tokio::task::spawn_blocking(Postgres::pair).await.unwrap()
}

/// A standby may be behind by an unknown time: an account that was suspended a moment ago would be let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_not_taken_for_the_store() {
    let (mut first, url, mut second) = started().await;
    let beside = Store::open(&url.parse().unwrap()).unwrap();
    beside.migrate().await.unwrap();
    retry(async || beside.suspend(&suspension("s-1")).await).await;

    let proxy = PostgresProxy::start(second.port()).await;
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
    until_async("it is the store now", async || store.ping().await.is_ok()).await;
    let read = retry(async || store.suspensions(NOW).await).await;
    assert_eq!(read.list.len(), 1, "what was acknowledged is there");
    assert_eq!(retry(async || store.reserve(&reservation("shop", "ada", "i-1")).await).await.generation, 1);
    until_async("notifications arrive", async || store.wakeups() == Wakeups::Notified).await;
}

/// The first server is cut off from its standby and from the failover controller, but not from its users: their
/// connections stay, it answers reads, and it never acknowledges a change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_acknowledges_no_changes_is_not_read_from() {
    let (first, url, mut second) = started().await;
    let proxy = PostgresProxy::start(first.port()).await;
    let store = Store::open(&proxy.url(&url).parse().unwrap()).unwrap();
    store.migrate().await.unwrap();
    for round in 0..20 {
        // Both connections are in use.
        let (a, b) =
            (reservation(&format!("a{round}"), "ada", "i"), reservation(&format!("b{round}"), "bob", "i"));
        let reserve = async |wish| retry(async || store.reserve(wish).await).await.generation;
        assert_eq!(tokio::join!(reserve(&a), reserve(&b)), (1, 1));
    }

    second.promote();
    proxy.set_upstream(second.port());
    let beside = Store::open(&proxy.url(&url).parse().unwrap()).unwrap();
    let version = retry(async || beside.suspend(&suspension("s-1")).await).await;
    let lost = store.reserve(&reservation("lost", "ada", "i")).await;
    assert!(lost.is_err(), "no other server has it: {lost:?}");
    // One connection showed it; what the other one leads to is no better.
    let read = retry(async || store.suspensions(NOW).await).await;
    assert_eq!((read.version, read.list.len()), (version, 1));
    let reserved = retry(async || store.reserve(&reservation("lost", "bob", "i")).await).await;
    assert_eq!(reserved.generation, 1, "nobody has had it");
    drop(first);
}
