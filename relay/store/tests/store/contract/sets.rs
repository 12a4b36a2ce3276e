//! The sets that relays hold in memory, and how they learn of changes.

use crate::fixture::{NOW, REGION, StoreFixture};
use adit_protocol::Account;
use adit_store::{POLL_INTERVAL, RelayStatus, Store, Suspended, Suspension, Wakeups};
use adit_testkit::wait::until_async;
use std::time::Instant;

fn suspension(id: &str, target: Suspended, until: Option<u64>) -> Suspension {
    Suspension {
        id: id.to_owned(),
        target,
        until,
        reason: "phishing".to_owned(),
        complaint: Some("cpl-1".to_owned()),
        since: NOW,
        hostnames: vec![],
    }
}

fn ids(list: &[Suspension]) -> Vec<&str> {
    list.iter().map(|suspension| suspension.id.as_str()).collect()
}

pub(crate) async fn suspensions_are_in_force_until_they_are_lifted_or_end(fixture: StoreFixture) {
    let (store, other_relay) = (fixture.open().await, fixture.open().await);
    assert_eq!(store.suspensions(NOW).await.unwrap(), Default::default());
    let foreign = Account { issuer: "https://id.example".to_owned(), subject: "a|b".to_owned() };
    let account = suspension("s-2", Suspended::Account(foreign), None);
    let hostname = suspension("s-1", Suspended::Hostname("shop.eu.example.com".to_owned()), Some(NOW + 100));
    assert_eq!(store.suspend(&account).await.unwrap(), 1);
    assert_eq!(store.suspend(&hostname).await.unwrap(), 2);

    let all = other_relay.suspensions(NOW + 99).await.unwrap();
    assert_eq!((all.version, all.list), (2, vec![hostname.clone(), account.clone()]));
    let later = store.suspensions(NOW + 100).await.unwrap();
    assert_eq!((later.version, ids(&later.list)), (2, vec!["s-2"]), "an end is no change");

    assert_eq!(other_relay.lift("s-2", NOW + 1).await.unwrap(), 3);
    assert_eq!(other_relay.lift("s-2", NOW + 2).await.unwrap(), 3, "lifted already");
    assert_eq!(other_relay.lift("s-9", NOW + 2).await.unwrap(), 3, "unknown");
    let left = store.suspensions(NOW).await.unwrap();
    assert_eq!((left.version, ids(&left.list)), (3, vec!["s-1"]));
    assert_eq!(store.lift("s-1", NOW + 2).await.unwrap(), 4);
    let none = store.suspensions(NOW).await.unwrap();
    assert_eq!((none.version, none.list), (4, vec![]), "an empty set has a version, too");
    assert_eq!(store.suspend(&account).await.unwrap(), 5, "what was lifted can come back");
    assert_eq!(store.suspensions(NOW).await.unwrap().list, [account]);
}

pub(crate) async fn the_same_suspension_again_changes_nothing(fixture: StoreFixture) {
    let store = fixture.open().await;
    let first = suspension("s-1", Suspended::Account(Account::managed("ada")), None);
    assert_eq!(store.suspend(&first).await.unwrap(), 1);
    assert_eq!(store.suspend(&first).await.unwrap(), 1);
    let others = [
        Suspension { until: Some(NOW + 5), ..first.clone() },
        Suspension { reason: "malware".to_owned(), ..first.clone() },
        Suspension { complaint: None, ..first.clone() },
        Suspension { since: NOW + 1, ..first.clone() },
        Suspension { target: Suspended::Account(Account::managed("bob")), ..first.clone() },
        Suspension { target: Suspended::Hostname("shop.eu.example.com".to_owned()), ..first.clone() },
        first,
    ];
    for (at, changed) in others.into_iter().enumerate() {
        let version = at as u64 + 2;
        assert_eq!(store.suspend(&changed).await.unwrap(), version, "{changed:?}");
        assert_eq!(store.suspend(&changed).await.unwrap(), version, "{changed:?}");
        assert_eq!(store.suspensions(NOW).await.unwrap().list, [changed]);
    }
}

/// The store of another relay: with SQLite there is none, and the same one is woken.
async fn changed_by(fixture: &StoreFixture, store: &Store) -> Store {
    match store {
        Store::Sqlite(_) => store.clone(),
        Store::Postgres(_) => fixture.open().await,
    }
}

pub(crate) async fn a_change_wakes_who_waits(fixture: StoreFixture) {
    const CHANGES: u32 = 24;
    let store = fixture.open().await;
    let other = changed_by(&fixture, &store).await;
    let mut changes = store.changes();
    changes.next().await;
    until_async("wake-ups without polling", async || store.wakeups() != Wakeups::PollingOnly).await;

    // By polling alone this would take CHANGES intervals; a quarter of them is a bound with room for a busy machine.
    let start = Instant::now();
    for n in 0..CHANGES {
        let id = format!("s-{n}");
        let version = match n % 3 {
            0 => other
                .suspend(&suspension(&id, Suspended::Hostname("a.example".to_owned()), None))
                .await
                .unwrap(),
            1 => other.lift(&format!("s-{}", n - 1), NOW).await.unwrap(),
            _ => {
                let account = Account::managed("ada");
                let credential = adit_store::BoundCredential {
                    id: id.clone(),
                    account,
                    key: "k".to_owned(),
                    expires: NOW + 9,
                };
                other.bind_credential(&credential, NOW).await.unwrap();
                assert!(other.revoke_credential(&id, NOW).await.unwrap());
                u64::from(n) / 3 + 1
            }
        };
        changes.next().await;
        let seen = match n % 3 {
            0 | 1 => store.suspensions(NOW).await.unwrap().version,
            _ => store.credentials_revoked(NOW).await.unwrap().version,
        };
        assert_eq!(seen, version, "change {n}");
    }
    assert!(start.elapsed() < POLL_INTERVAL * CHANGES / 4, "{CHANGES} wake-ups took {:?}", start.elapsed());
}

pub(crate) async fn relays_are_seen_until_they_are_gone(fixture: StoreFixture) {
    let store = fixture.open().await;
    let relay = |region: &str, id: &str, seen, suspensions_version| RelayStatus {
        region: region.to_owned(),
        relay: id.parse().unwrap(),
        started: NOW,
        seen,
        suspensions_version,
        config_revision: format!("revision-{seen}"),
        config_refused: (seen > NOW).then(|| "limits: bad".to_owned()),
        draining: seen > NOW,
        sessions: 3,
        tunnels: 2,
        registry_up: seen == NOW,
        challenges_version: suspensions_version + 1,
        served: if seen > NOW { vec!["aa".to_owned(), "bb".to_owned()] } else { vec![] },
        certificate_problem: (seen > NOW).then(|| "a.example: expired".to_owned()),
    };
    assert_eq!(store.relays_seen().await.unwrap(), []);
    store.relay_seen(&relay(REGION, "r-1", NOW, 0)).await.unwrap();
    store.relay_seen(&relay("us.example.com", "r-1", NOW, 4)).await.unwrap();
    store.relay_seen(&relay(REGION, "r-0", NOW, 3)).await.unwrap();
    store.relay_seen(&relay(REGION, "r-1", NOW + 5, 4)).await.unwrap();
    let (r0, r1) = (relay(REGION, "r-0", NOW, 3), relay(REGION, "r-1", NOW + 5, 4));
    let us = relay("us.example.com", "r-1", NOW, 4);
    assert_eq!(store.relays_seen().await.unwrap(), [r0.clone(), r1, us.clone()]);
    store.relay_gone(REGION, &"r-1".parse().unwrap()).await.unwrap();
    store.relay_gone(REGION, &"r-9".parse().unwrap()).await.unwrap();
    assert_eq!(store.relays_seen().await.unwrap(), [r0, us]);
}
