//! Postgres fails over while a Complaint is being enforced: an operator, and relays of two regions.

use crate::{
    cluster::{Cluster, MAX_WAIT, until},
    complaints::{ComplaintFixture, condition, history, migrated, relay_fixture},
};
use adit_api::complaint::Phase;
use adit_store::Store;
use adit_testkit::{
    http::Service,
    postgres::Postgres,
    postgres_proxy::{PostgresProxy, ProxyMode},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The message of the condition while one relay is outstanding.
const OUTSTANDING: &str = "1 of 2 relays have not confirmed it: us-a of us.localhost";

fn against(account: &str, decision: &str) -> Value {
    json!({"against": {"account": format!("adit|{account}")}, "category": "Spam", "decision": decision})
}

/// Runs blocking calls to the servers.
async fn servers<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Waits until the condition reports that the store is unavailable and names the outstanding relay.
async fn the_store_is_away(
    cluster: &Cluster,
    complaints: &ComplaintFixture<'_>,
    name: &str,
    outstanding: &str,
) {
    let end = Instant::now() + MAX_WAIT;
    loop {
        let (status, reason, message) = condition(&complaints.api.get(name).await.unwrap(), "Enforced");
        let is_away = (status.as_str(), reason.as_str()) == ("False", "StoreUnavailable");
        if is_away && message.ends_with(outstanding) {
            return;
        }
        assert!(Instant::now() < end, "{name}: {status} {reason}: {message}; {}", cluster.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until both relays have confirmed, and checks the history.
async fn is_enforced_once(complaints: &ComplaintFixture<'_>, store: &Store, name: &str) {
    let done = complaints.is(name, Phase::Enforced).await;
    assert_eq!(done.status.clone().unwrap().relays.summary, "2/2");
    assert_eq!(condition(&done, "Enforced").1, "AllRelays");
    let history = history(store, &done.metadata.uid.unwrap()).await;
    assert_eq!(history, ["filed", "acknowledged", "enforced"], "{name}: nothing is lost or done twice");
}

/// Two proxies that forward to a server.
async fn proxies(port: u16) -> (PostgresProxy, PostgresProxy) {
    tokio::join!(PostgresProxy::start(port), PostgresProxy::start(port))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_postgres_loses_no_decision() {
    let (mut first, url, mut second) = servers(Postgres::pair).await;
    let (address, apart) = proxies(first.port()).await;
    let mut cluster = Cluster::new().await;
    cluster.store = address.url(&url);
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    migrated(&complaints).await;
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    let eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let us = relay_fixture("us.localhost", "us-a", &apart.url(&url));
    let clients = [
        (eu.client(folder.path(), "eve", "eve-shop", &service), "eve-shop"),
        (us.client(folder.path(), "eve", "eve-there", &service), "eve-there"),
        (eu.client(folder.path(), "mallory", "mallory-shop", &service), "mallory-shop"),
    ];
    let _bob = us.client(folder.path(), "bob", "blog", &service);
    let statuses = async || {
        [
            eu.status("eve-shop").await,
            us.status("eve-there").await,
            eu.status("mallory-shop").await,
            us.status("blog").await,
        ]
    };
    until("all are served", async || statuses().await == [200; 4]).await;

    // One relay does not reach the store when the decision is made.
    apart.set_mode(ProxyMode::Refuse);
    for (name, account) in [("cpl-1", "eve"), ("cpl-2", "mallory")] {
        complaints.apply(name, against(account, "Pending")).await.unwrap();
        complaints.is(name, Phase::Open).await;
    }
    complaints.apply("cpl-1", against("eve", "Acknowledged")).await.unwrap();
    until("one of two has confirmed", async || {
        let found = complaints.api.get("cpl-1").await.unwrap();
        found.status.is_some() && condition(&found, "Enforced").2 == OUTSTANDING
    })
    .await;
    assert_eq!(eu.status("eve-shop").await, 403);

    // The primary dies. New decisions wait, and other accounts are not affected.
    let _first = servers(move || {
        first.crash();
        first
    })
    .await;
    complaints.apply("cpl-2", against("mallory", "Acknowledged")).await.unwrap();
    complaints.patch("cpl-1", json!({"description": "reviewed again"})).await.unwrap();
    for (name, outstanding) in [("cpl-1", OUTSTANDING), ("cpl-2", "")] {
        the_store_is_away(&cluster, &complaints, name, outstanding).await;
    }
    assert_eq!([eu.status("eve-shop").await, us.status("blog").await], [403, 200]);

    let second = servers(move || {
        second.promote();
        second
    })
    .await;
    for way in [&address, &apart] {
        way.set_upstream(second.port());
    }
    apart.set_mode(ProxyMode::Forward);
    let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
    for name in ["cpl-1", "cpl-2"] {
        is_enforced_once(&complaints, &store, name).await;
    }
    assert_eq!(statuses().await, [403, 403, 403, 200]);
    until("there are two suspensions", async || store.suspensions_version().await.is_ok_and(|all| all == 2))
        .await;
    for (mut client, name) in clients {
        let ended = client.wait(MAX_WAIT).and_then(|status| status.code());
        assert_eq!(ended, Some(5), "{name}: {}", client.output());
    }
    // Later decisions are enforced as before.
    complaints.apply("cpl-3", against("trudy", "Acknowledged")).await.unwrap();
    complaints.is("cpl-3", Phase::Enforced).await;
}
