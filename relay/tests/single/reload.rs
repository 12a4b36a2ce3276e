//! A configuration that changes while the relay runs.

use crate::relay_fixture::{RelayFixture, region};
use adit::Tunnel;
use adit_store::{RelayStatus, Store, StoreUrl};
use adit_testkit::{
    http::{Consumer, Service},
    region::DOMAIN,
    wait::{until_async, until_ok},
};

/// A relay whose configuration changes: `yaml` is what it began with.
struct ReloadFixture {
    fixture: RelayFixture,
    service: Service,
    store: Store,
    yaml: String,
}

impl ReloadFixture {
    async fn start() -> Self {
        let fixture = RelayFixture::start(region());
        let config = &fixture.relay.config;
        let yaml = std::fs::read_to_string(config).unwrap();
        let store = Store::open(&StoreUrl::Sqlite(config.with_file_name("adit.db"))).unwrap();
        Self { fixture, service: Service::start().await, store, yaml }
    }

    /// Replaces the configuration atomically by one with more lines, as a mounted one changes.
    fn configure(&self, more: &str) {
        let new = self.fixture.relay.config.with_extension("new");
        std::fs::write(&new, format!("{}{more}", self.yaml)).unwrap();
        std::fs::rename(new, &self.fixture.relay.config).unwrap();
    }

    fn token(&self) -> String {
        self.fixture.region.token(&self.fixture.relay, "ci", &[])
    }

    async fn open(&self, name: &str) -> Result<Tunnel, String> {
        self.open_with(name, self.token()).await
    }

    async fn open_with(&self, name: &str, token: String) -> Result<Tunnel, String> {
        Tunnel::http(self.service.address().to_string())
            .name(name)
            .relay(format!("{DOMAIN}:{}", self.fixture.relay.https().port()))
            .token(token)
            .ca(self.fixture.region.ca())
            .open()
            .await
            .map_err(|error| format!("{error:?}"))
    }

    /// What the relay reports to the store, once `is_wanted` accepts it.
    async fn report(&self, is_wanted: impl Fn(&RelayStatus) -> bool) -> RelayStatus {
        until_ok("the relay reports to the store", || async {
            let relays = self.store.relays_seen().await.unwrap_or_default();
            relays.iter().find(|seen| is_wanted(seen)).cloned().ok_or(relays)
        })
        .await
    }
}

#[tokio::test]
async fn limits_and_access_change_without_a_restart_and_are_confirmed() {
    let mut reload = ReloadFixture::start().await;
    let first = reload.report(|seen| !seen.config_revision.is_empty()).await.config_revision;
    let _tunnel = reload.open("shop").await.unwrap();
    let (consumer, host) = (Consumer::plain(reload.fixture.relay.http()), format!("shop.{DOMAIN}"));
    for _ in 0..20 {
        assert_eq!(consumer.get(&host, "/echo").await.unwrap().status, 200);
    }

    reload.configure("limits: {requestsPerSecond: 1, burst: 1}\naccess: {minimumClientVersion: 99.0.0}\n");
    let second = reload.report(|seen| seen.config_revision != first).await;
    assert_eq!((second.config_refused.clone(), second.draining), (None, false));
    let at_once: Vec<_> = (0..10)
        .map(|_| {
            let (consumer, host) = (consumer.clone(), host.clone());
            tokio::spawn(async move { consumer.get(&host, "/echo").await.unwrap().status })
        })
        .collect();
    let mut statuses = Vec::new();
    for asked in at_once {
        statuses.push(asked.await.unwrap());
    }
    assert!(statuses.contains(&429), "the session that is open has the new limits: {statuses:?}");
    let refused = reload.open("late").await.unwrap_err();
    assert!(refused.contains("upgrade_required"), "{refused}");

    reload.configure("");
    let third = reload.report(|seen| seen.config_revision != second.config_revision).await;
    assert_eq!(third.config_revision, first, "the same files, the same revision");
    reload.open("late").await.unwrap();
    assert!(reload.fixture.relay.child.is_running());
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_is_said() {
    let mut reload = ReloadFixture::start().await;
    let first = reload.report(|seen| !seen.config_revision.is_empty()).await.config_revision;
    // The command that makes tokens reads the same file.
    let token = reload.token();
    reload.configure("limits: {tunnels: 0}\n");
    let seen = reload.report(|seen| seen.config_refused.is_some()).await;
    assert_eq!(seen.config_revision, first);
    assert!(seen.config_refused.unwrap().contains("limits.tunnels"), "the field is named");
    reload.open_with("shop", token).await.unwrap();
    reload.configure("limits: {tunnels: 9}\n");
    reload.report(|seen| seen.config_refused.is_none() && seen.config_revision != first).await;
    assert!(reload.fixture.relay.child.is_running());
}

#[tokio::test]
async fn a_relay_that_ends_in_order_says_nothing_more() {
    let mut reload = ReloadFixture::start().await;
    reload.report(|_| true).await;
    reload.fixture.relay.child.term();
    until_async("its report is gone", async || {
        reload.store.relays_seen().await.is_ok_and(|seen| seen.is_empty())
    })
    .await;
}
