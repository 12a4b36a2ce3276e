//! Relays that do not reach the store, or are not notified of its changes.

use crate::fixture::{Authorities, served_fingerprint};
use adit_store::Store;
use adit_testkit::{
    postgres::Postgres,
    postgres_proxy::{PostgresProxy, ProxyMode},
    redis::Redis,
    region::{RelayProcess, TestRegion},
    soak::{Record, scale},
    wait::until_async,
};
use std::time::{Duration, Instant};

const HOST: &str = "shop.adit.localhost";

async fn database() -> String {
    tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_its_store_starts_with_its_last_certificate() {
    let database = database().await;
    let proxy = PostgresProxy::start(Postgres::shared().port()).await;
    let region = TestRegion::new(env!("CARGO_BIN_EXE_adit-relay")).store(proxy.url(&database));
    let mut relay = region.start("a");
    let authorities = Authorities::start(80, 443);
    let operator = authorities.issuer(Store::open(&database.parse().unwrap()).unwrap(), &region).await;
    let issued = operator.issue().await;
    operator.until_confirmed(1, &issued.fingerprint).await;

    proxy.set_mode(ProxyMode::Refuse);
    relay.child.kill();
    let next = operator.issue().await;
    region.restart(&mut relay);
    assert_eq!(served_fingerprint(relay.https(), HOST), issued.fingerprint, "{}", relay.child.output());
    // Its key is sealed where it is kept.
    let kept = std::fs::read_to_string(relay.config.with_file_name("certificates.json")).unwrap();
    assert!(kept.contains(&issued.fingerprint) && !kept.contains("PRIVATE KEY"), "{kept}");

    proxy.set_mode(ProxyMode::Forward);
    until_async("it serves the newer one once the store is back", async || {
        served_fingerprint(relay.https(), HOST) == next.fingerprint
    })
    .await;
}

/// Times from the store's commit until a relay served the certificate.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    /// Waits until a relay serves a certificate.
    async fn wait(&mut self, relay: &RelayProcess, fingerprint: &str, since: Instant) {
        until_async("it is served", async || served_fingerprint(relay.https(), HOST) == fingerprint).await;
        self.0.push(since.elapsed());
    }

    fn at(&mut self, part: f64) -> u128 {
        self.0.sort();
        let index = ((self.0.len() as f64 * part).ceil() as usize).clamp(1, self.0.len()) - 1;
        self.0[index].as_millis()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_is_a_matter_of_time_alone() {
    let record = Record::begin("from the store's commit to the handshake");
    let redis = Redis::start();
    let database = database().await;
    let proxy = PostgresProxy::start(Postgres::shared().port()).await;
    let region = TestRegion::new(env!("CARGO_BIN_EXE_adit-relay"))
        .registry(redis.url())
        .store(database.clone())
        .store_of("b", proxy.url(&database));
    let (told, deaf) = (region.start("a"), region.start("b"));
    let authorities = Authorities::start(80, 443);
    let operator = authorities.issuer(Store::open(&database.parse().unwrap()).unwrap(), &region).await;
    let (mut soon, mut late) = (Times::default(), Times::default());
    let rounds = scale(2, 100);
    for round in 0..rounds {
        proxy.set_mode(ProxyMode::Forward);
        let issued = operator.issue().await;
        let since = Instant::now();
        for relay in [&told, &deaf] {
            soon.wait(relay, &issued.fingerprint, since).await;
        }
        if round < rounds.min(20) {
            proxy.set_mode(ProxyMode::WithoutNotifications);
            let issued = operator.issue().await;
            let since = Instant::now();
            late.wait(&deaf, &issued.fingerprint, since).await;
            until_async("the other one, too", async || {
                served_fingerprint(told.https(), HOST) == issued.fingerprint
            })
            .await;
        }
    }
    // A re-read may come before the notification has even arrived at the proxy.
    until_async("notifications were kept back", async || proxy.dropped_notifications() > 0).await;
    record.end(format!(
        "{} handshakes: p50 {} ms, p99 {} ms, all within {} ms; without the notification {}: all within {} ms",
        soon.0.len(),
        soon.at(0.5),
        soon.at(0.99),
        soon.at(1.0),
        late.0.len(),
        late.at(1.0),
    ));
}
