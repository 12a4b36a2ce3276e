//! Certificates, their orders, challenges and fences.

use crate::fixture::{NOW, StoreFixture};
use adit_store::{ChallengeKind, Fence, SealedKey, StoredCertificate, StoredChallenge, StoredOrder};
use std::time::Duration;

fn certificate(id: &str, fingerprint: &str) -> StoredCertificate {
    StoredCertificate {
        id: id.to_owned(),
        names: vec!["a.example".to_owned(), "*.a.example".to_owned()],
        regions: vec!["eu".to_owned()],
        chain: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        fingerprint: fingerprint.to_owned(),
        not_before: NOW,
        not_after: NOW + 100,
        revision: 1,
        issued_at: NOW + 1,
        made_for: "x".to_owned(),
    }
}

fn keys(recipients: &[&str]) -> Vec<SealedKey> {
    let key = |recipient: &&str| SealedKey {
        recipient: (*recipient).to_owned(),
        sealed: format!("sealed to {recipient}"),
    };
    recipients.iter().map(key).collect()
}

fn challenge(name: &str, kind: ChallengeKind, expires: u64) -> StoredChallenge {
    let (token, answer) = (format!("token-{name}"), format!("answer-{name}"));
    StoredChallenge { kind, name: name.to_owned(), token, answer, expires }
}

fn order(certificate: &str) -> StoredOrder {
    StoredOrder {
        certificate: certificate.to_owned(),
        made_for: "x".to_owned(),
        url: Some("https://ca/order/1".to_owned()),
        key: Some("sealed".to_owned()),
        ordered_at: NOW,
        state: "pending".to_owned(),
        challenges: "[]".to_owned(),
        problem: Some("rateLimited: too many".to_owned()),
        failures: 3,
        next_attempt: NOW + 60,
        renewal_at: Some(NOW + 70),
        renewal_asked: NOW + 80,
    }
}

async fn fence(fixture: &StoreFixture, name: &str) -> Fence {
    fixture.open().await.take_fence(name, "one", 60, NOW).await.unwrap().expect("it is free")
}

pub(crate) async fn a_certificate_goes_to_those_whose_key_it_was_sealed_to(fixture: StoreFixture) {
    let store = fixture.open().await;
    let fence = fence(&fixture, "f").await;
    let (first, second) = (certificate("c-1", "aa"), certificate("c-2", "bb"));
    assert!(store.put_certificate(&first, &keys(&["eu", "us"]), &fence).await.unwrap());
    assert!(store.put_certificate(&second, &keys(&["eu"]), &fence).await.unwrap());
    let eu = store.certificates_for("eu").await.unwrap();
    assert_eq!(
        eu.list,
        [(first.clone(), "sealed to eu".to_owned()), (second.clone(), "sealed to eu".to_owned())]
    );
    let us = store.certificates_for("us").await.unwrap();
    assert_eq!((us.version, us.list.len()), (eu.version, 1));
    assert_eq!(store.certificates_for("asia").await.unwrap().list, []);
    assert_eq!(store.certificate("c-1").await.unwrap(), Some(first.clone()));

    // The next certificate replaces it and is sealed again, to the regions that may have it now.
    let next = certificate("c-1", "cc");
    assert!(store.put_certificate(&next, &keys(&["us"]), &fence).await.unwrap());
    let eu_now = store.certificates_for("eu").await.unwrap();
    assert!(eu_now.version > eu.version);
    assert_eq!(eu_now.list.len(), 1);
    assert_eq!(store.certificate("c-1").await.unwrap().unwrap().revision, 2);
    assert!(store.put_certificate(&next, &keys(&["us"]), &fence).await.unwrap());
    assert_eq!(store.certificate("c-1").await.unwrap().unwrap().revision, 2, "the same one again");

    assert!(store.remove_certificate("c-1").await.unwrap());
    assert!(!store.remove_certificate("c-1").await.unwrap());
    assert_eq!(store.certificates_for("us").await.unwrap().list, []);
    assert_eq!(store.certificate_keys("c-1").await.unwrap(), []);

    store.put_region("eu", "key-1").await.unwrap();
    store.put_region("us", "key-2").await.unwrap();
    store.put_region("eu", "key-3").await.unwrap();
    store.remove_region("us").await.unwrap();
    assert_eq!(store.regions().await.unwrap(), [("eu".to_owned(), "key-3".to_owned())]);
}

pub(crate) async fn a_certificate_ends_its_order_and_its_challenges(fixture: StoreFixture) {
    let store = fixture.open().await;
    let fence = fence(&fixture, "f").await;
    for id in ["c-1", "c-2"] {
        assert!(store.put_acme_order(&order(id), &fence).await.unwrap());
        store.put_challenges(id, &[challenge(id, ChallengeKind::Http01, NOW + 9)], NOW).await.unwrap();
    }
    assert!(store.put_certificate(&certificate("c-1", "aa"), &keys(&["eu"]), &fence).await.unwrap());
    assert_eq!(store.acme_order("c-1").await.unwrap(), None);
    assert_eq!(store.acme_order("c-2").await.unwrap(), Some(order("c-2")));
    let left = store.challenges(NOW).await.unwrap().list;
    assert_eq!(left, [challenge("c-2", ChallengeKind::Http01, NOW + 9)]);
}

pub(crate) async fn without_its_fence_nothing_is_written(fixture: StoreFixture) {
    let store = fixture.open().await;
    let old = fence(&fixture, "f").await;
    let new = store.take_fence("f", "two", 60, NOW + 60).await.unwrap().expect("the first one's has ended");
    assert!(new.epoch > old.epoch);
    assert!(!store.put_certificate(&certificate("c-1", "aa"), &keys(&["eu"]), &old).await.unwrap());
    assert!(!store.put_acme_order(&order("c-1"), &old).await.unwrap());
    assert_eq!(store.certificate("c-1").await.unwrap(), None);
    assert_eq!(store.acme_order("c-1").await.unwrap(), None);
    assert!(store.put_acme_order(&order("c-1"), &new).await.unwrap());
}

pub(crate) async fn a_fence_is_one_s_until_it_ends_or_is_left(fixture: StoreFixture) {
    let store = fixture.open().await;
    let own = fence(&fixture, "f").await;
    assert_eq!(store.take_fence("f", "two", 60, NOW + 59).await.unwrap(), None);
    assert_eq!(store.take_fence("f", "one", 60, NOW + 59).await.unwrap(), Some(own.clone()), "held on to");
    assert_eq!(store.take_fence("f", "two", 60, NOW + 60).await.unwrap(), None);
    store.leave_fence(&own).await.unwrap();
    let next = store.take_fence("f", "two", 60, NOW + 60).await.unwrap().expect("it was left");
    store.leave_fence(&own).await.unwrap();
    assert_eq!(store.take_fence("f", "one", 60, NOW + 61).await.unwrap(), None, "left twice is left once");
    assert!(next.epoch > own.epoch);
}

pub(crate) async fn of_many_who_want_a_fence_exactly_one_has_it(fixture: StoreFixture) {
    let mut tasks = Vec::new();
    for n in 0..8 {
        let store = fixture.open().await;
        tasks.push(tokio::spawn(
            async move { store.take_fence("f", &format!("h-{n}"), 60, NOW).await.unwrap() },
        ));
    }
    let mut taken = 0;
    for task in tasks {
        taken += usize::from(task.await.unwrap().is_some());
    }
    assert_eq!(taken, 1);
}

pub(crate) async fn challenges_have_a_version_and_an_end(fixture: StoreFixture) {
    let store = fixture.open().await;
    assert_eq!(store.challenges(NOW).await.unwrap().list, []);
    let first =
        [challenge("a", ChallengeKind::Http01, NOW + 10), challenge("b", ChallengeKind::TlsAlpn01, NOW + 20)];
    let version = store.put_challenges("c-1", &first, NOW).await.unwrap();
    let set = store.challenges(NOW).await.unwrap();
    assert_eq!((set.version, set.list), (version, first.to_vec()));
    assert_eq!(store.challenges(NOW + 10).await.unwrap().list, first[1..]);
    let next = store.put_challenges("c-1", &first[..1], NOW).await.unwrap();
    assert!(next > version);
    assert_eq!(store.challenges(NOW).await.unwrap().list, first[..1], "they replace the earlier ones");
    store.put_challenges("c-2", &first[1..], NOW).await.unwrap();
    assert_eq!(store.challenges(NOW).await.unwrap().list.len(), 2, "another certificate's stay");
}

pub(crate) async fn accounts_orders_and_failures_are_kept(fixture: StoreFixture) {
    let store = fixture.open().await;
    assert_eq!(store.acme_account("a").await.unwrap(), None);
    store.put_acme_account("a", Some("one")).await.unwrap();
    store.put_acme_account("a", Some("two")).await.unwrap();
    assert_eq!(store.acme_account("a").await.unwrap().as_deref(), Some("one"), "who comes first has made it");
    store.put_acme_account("a", None).await.unwrap();
    assert_eq!(store.acme_account("a").await.unwrap(), None);

    for (id, at) in [("1", NOW), ("2", NOW + 5), ("2", NOW + 9), ("3", NOW + 7)] {
        store.note_failed_validation(id, "ca", "a.example", at).await.unwrap();
    }
    let failed = async |ca: &str, name: &str, since| store.failed_validations(ca, name, since).await.unwrap();
    assert_eq!(failed("ca", "a.example", NOW - 1).await, [NOW + 7, NOW + 5, NOW]);
    assert_eq!(failed("ca", "a.example", NOW).await, [NOW + 7, NOW + 5]);
    assert_eq!(failed("other", "a.example", 0).await, Vec::<u64>::new());
    assert_eq!(failed("ca", "b.example", 0).await, Vec::<u64>::new());
    store.note_failed_validation("4", "ca", "b.example", NOW + 86_406).await.unwrap();
    assert_eq!(failed("ca", "a.example", 0).await, [NOW + 7], "what is older than a day is forgotten");
}

pub(crate) async fn relays_are_woken_by_certificates_and_challenges(fixture: StoreFixture) {
    let (store, reader) = (fixture.open().await, fixture.open().await);
    let fence = fence(&fixture, "f").await;
    let mut changes = reader.changes();
    changes.next().await;
    let wait = Duration::from_secs(60);
    store.put_challenges("c-1", &[challenge("a", ChallengeKind::Http01, NOW + 10)], NOW).await.unwrap();
    loop {
        tokio::time::timeout(wait, changes.next()).await.unwrap();
        if !reader.challenges(NOW).await.unwrap().list.is_empty() {
            break;
        }
    }
    store.put_certificate(&certificate("c-1", "aa"), &keys(&["eu"]), &fence).await.unwrap();
    loop {
        tokio::time::timeout(wait, changes.next()).await.unwrap();
        if !reader.certificates_for("eu").await.unwrap().list.is_empty() {
            break;
        }
    }
}
