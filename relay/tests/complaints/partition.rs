//! Relays without the store, and a store without notifications.

use crate::fixture::{
    against, client_of, complaint, http_tunnel, judge, region, standing, status, unix_now, until_enforced,
    until_open,
};
use adit_store::{Decision, Phase, Store};
use adit_testkit::{
    fleet::RelayFleet,
    http::Service,
    postgres::Postgres,
    postgres_proxy::{PostgresProxy, ProxyMode},
    soak::{Record, scale, soaking},
    wait::{until, until_ok},
};
use std::time::{Duration, Instant};

async fn opened(url: &str) -> Store {
    let store = Store::open(&url.parse().unwrap()).unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_cut_off_is_named_and_learns_from_its_peers() {
    let url = Postgres::shared().database();
    let store = opened(&url).await;
    let proxy = PostgresProxy::start(Postgres::shared().port()).await;
    let region = region("eu.localhost", &url).store_of("b", proxy.url(&url));
    let mut fleet = RelayFleet::start(region, &["a", "b"]).await;
    let service = Service::start().await;
    let eve = client_of(&fleet, "eve").tunnel(http_tunnel(service.address(), "shop")).start().unwrap();
    until_open(&eve).await;
    proxy.set_mode(ProxyMode::Blackhole);
    let acknowledged = judge(&store, &complaint("cpl-1", against("eve"), Decision::Acknowledged)).await;
    // The relay that reaches the store enforces it, and says so.
    let only_b = [("eu.localhost".to_owned(), "b".to_owned())];
    let waiting = until_ok("one relay is outstanding", || async {
        let standing = standing(&store, &acknowledged).await;
        if standing.outstanding == only_b { Ok(standing) } else { Err(standing) }
    })
    .await;
    assert_eq!(waiting.phase, Phase::Enforcing);

    // After a while the other asks its peers. It enforces what they know, and is still named: nobody has heard from it.
    until("it learns from its peer", || {
        fleet.relays[1].metric("adit_suspensions_version") == acknowledged.version
    })
    .await;
    assert_eq!(status(fleet.relays[1].http(), &fleet.host("shop")).await, 403);
    assert_eq!(standing(&store, &acknowledged).await.phase, Phase::Enforcing, "silence proves nothing");

    // It ends, and starts again while the store is away: what it knew last holds, and nobody is let in by mistake.
    fleet.relays[1].child.kill();
    fleet.restart(1);
    assert_eq!(fleet.relays[1].metric("adit_suspensions_version"), acknowledged.version);
    assert_eq!(status(fleet.relays[1].http(), &fleet.host("shop")).await, 403);
    assert_eq!(standing(&store, &acknowledged).await.phase, Phase::Enforcing);

    proxy.set_mode(ProxyMode::Forward);
    until_enforced(&store, &acknowledged).await;
    drop(eve);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_store_and_folder_follows_its_peers() {
    let url = Postgres::shared().database();
    let store = opened(&url).await;
    let proxy = PostgresProxy::start(Postgres::shared().port()).await;
    let region = region("eu.localhost", &url).store_of("b", proxy.url(&url));
    let fleet = RelayFleet::start(region, &["a"]).await;
    let acknowledged = judge(&store, &complaint("cpl-1", against("eve"), Decision::Acknowledged)).await;
    until_enforced(&store, &acknowledged).await;
    proxy.set_mode(ProxyMode::Refuse);
    let late = fleet.region.start("b");
    until("it knows what its peer knows", || late.metric("adit_suspensions_version") == acknowledged.version)
        .await;
    assert_eq!(late.metric("adit_suspensions"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_without_notifications_and_by_a_restart() {
    let record = Record::begin("the notification of a complaint is lost, and Postgres restarted");
    let mut postgres = Postgres::start();
    let url = postgres.database();
    let store = opened(&url).await;
    let proxy = PostgresProxy::start(postgres.port()).await;
    proxy.set_mode(ProxyMode::WithoutNotifications);
    let region = region("eu.localhost", &proxy.url(&url));
    let fleet = RelayFleet::start(region, &["a", "b"]).await;
    let (mut lost, count) = (vec![], scale(1, 20));
    for n in 1..=count {
        let begun = Instant::now();
        let filing = complaint(&format!("cpl-{n}"), against(&format!("eve-{n}")), Decision::Acknowledged);
        let acknowledged = judge(&store, &filing).await;
        assert_eq!(acknowledged.version, n);
        until_enforced(&store, &acknowledged).await;
        lost.push(begun.elapsed());
    }
    until("the notifications were lost", || proxy.dropped_notifications() > 0).await;

    // Postgres goes right after the decision, before any relay can have heard of it.
    let filing = complaint("cpl-last", against("mallory"), Decision::Acknowledged);
    let begun = Instant::now();
    let last = judge(&store, &filing).await;
    postgres.stop();
    assert!(store.judge(&filing, unix_now()).await.is_err());
    postgres.restart();
    // Whoever did not hear whether it was done does it again.
    let again = judge(&store, &filing).await;
    assert_eq!((last.version, again.version), (count + 1, count + 1), "nothing is enforced twice");
    until_enforced(&store, &again).await;
    let restarted = begun.elapsed();
    for relay in &fleet.relays {
        assert_eq!(relay.metric("adit_suspensions"), count + 1, "nothing is lost");
    }
    let worst = lost.iter().max().copied().unwrap_or_default();
    if soaking() {
        assert!(
            worst < Duration::from_secs(10) && restarted < Duration::from_secs(10),
            "{worst:?} {restarted:?}"
        );
    }
    record.end(format!(
        "{count} complaints, at most {} ms; {} ms with a restart in between",
        worst.as_millis(),
        restarted.as_millis()
    ));
}
