//! A configuration that changes while the relay runs.

use adit::Tunnel;
use adit_store::{RelaySeen, Store, StoreUrl};
use adit_testkit::{
    http::{Consumer, Service},
    region::{DOMAIN, Region, Relay},
};
use std::time::{Duration, Instant};

/// The longest that anything is waited for.
const LONG: Duration = Duration::from_secs(60);

struct Changing {
    region: Region,
    relay: Relay,
    service: Service,
    store: Store,
    yaml: String,
}

impl Changing {
    async fn start() -> Self {
        let region = Region::new(env!("CARGO_BIN_EXE_adit-relay"));
        let relay = region.start("a");
        let yaml = std::fs::read_to_string(&relay.config).unwrap();
        let store = Store::open(&StoreUrl::Sqlite(relay.config.with_file_name("adit.db"))).unwrap();
        Self { region, relay, service: Service::start().await, store, yaml }
    }

    /// Writes the configuration with more lines, all at once as a mounted one changes.
    fn configure(&self, more: &str) {
        let new = self.relay.config.with_extension("new");
        std::fs::write(&new, format!("{}{more}", self.yaml)).unwrap();
        std::fs::rename(new, &self.relay.config).unwrap();
    }

    fn token(&self) -> String {
        self.region.token(&self.relay, "ci", &[])
    }

    async fn open(&self, name: &str) -> Result<Tunnel, String> {
        self.open_with(name, self.token()).await
    }

    async fn open_with(&self, name: &str, token: String) -> Result<Tunnel, String> {
        Tunnel::http(self.service.address().to_string())
            .name(name)
            .relay(format!("{DOMAIN}:{}", self.relay.https().port()))
            .token(token)
            .ca(self.region.ca())
            .open()
            .await
            .map_err(|error| format!("{error:?}"))
    }

    /// What the relay says of itself once that is as wanted.
    async fn said(&self, wanted: impl Fn(&RelaySeen) -> bool) -> RelaySeen {
        let end = Instant::now() + LONG;
        loop {
            let relays = self.store.relays_seen().await.unwrap_or_default();
            if let Some(seen) = relays.iter().find(|seen| wanted(seen)) {
                return seen.clone();
            }
            assert!(Instant::now() < end, "it says {relays:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn limits_and_access_change_without_a_restart_and_are_confirmed() {
    let mut changing = Changing::start().await;
    let first = changing.said(|seen| !seen.config_revision.is_empty()).await.config_revision;
    let _tunnel = changing.open("shop").await.unwrap();
    let (consumer, host) = (Consumer::plain(changing.relay.http()), format!("shop.{DOMAIN}"));
    for _ in 0..20 {
        assert_eq!(consumer.get(&host, "/echo").await.unwrap().status, 200);
    }

    changing.configure("limits: {requestsPerSecond: 1, burst: 1}\naccess: {minimumClientVersion: 99.0.0}\n");
    let second = changing.said(|seen| seen.config_revision != first).await;
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
    let refused = changing.open("late").await.unwrap_err();
    assert!(refused.contains("upgrade_required"), "{refused}");

    changing.configure("");
    let third = changing.said(|seen| seen.config_revision != second.config_revision).await;
    assert_eq!(third.config_revision, first, "the same files, the same revision");
    changing.open("late").await.unwrap();
    assert!(changing.relay.child.is_running());
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_is_said() {
    let mut changing = Changing::start().await;
    let first = changing.said(|seen| !seen.config_revision.is_empty()).await.config_revision;
    // The command that makes tokens reads the same file.
    let token = changing.token();
    changing.configure("limits: {tunnels: 0}\n");
    let seen = changing.said(|seen| seen.config_refused.is_some()).await;
    assert_eq!(seen.config_revision, first);
    assert!(seen.config_refused.unwrap().contains("limits.tunnels"), "the field is named");
    changing.open_with("shop", token).await.unwrap();
    changing.configure("limits: {tunnels: 9}\n");
    changing.said(|seen| seen.config_refused.is_none() && seen.config_revision != first).await;
    assert!(changing.relay.child.is_running());
}

#[tokio::test]
async fn a_relay_that_ends_in_order_says_nothing_more() {
    let mut changing = Changing::start().await;
    changing.said(|_| true).await;
    changing.relay.child.term();
    let end = Instant::now() + LONG;
    while !changing.store.relays_seen().await.is_ok_and(|seen| seen.is_empty()) {
        assert!(Instant::now() < end, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
