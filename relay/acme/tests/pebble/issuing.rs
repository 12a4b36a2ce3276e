//! Certificates that are issued, renewed and sealed.

use crate::fixture::AcmeFixture;
use adit_acme::{
    Binding, Ca, CertificateState, Issuer, KeyAlgorithm, Request, SealingKey, certificate, open_key,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::time::Duration;

/// Issues; returns the certificate's facts and its key as the region unseals it.
async fn issue(fixture: &AcmeFixture, request: &Request) -> (certificate::Facts, String) {
    let progress = fixture.advance(request).await;
    assert_eq!(progress.state, CertificateState::Issued, "{progress:?}\n{}", fixture.pebble.log());
    let set = fixture.store.certificates_for("eu.example").await.unwrap();
    let (stored, sealed) = set.list.iter().find(|(stored, _)| stored.id == request.id).unwrap();
    let key = open_key(&SealingKey::of(&[7; 32]), &stored.id, sealed).unwrap();
    let facts = certificate::check(&stored.chain, &key, &request.names, stored.issued_at).unwrap();
    assert_eq!(facts.fingerprint, stored.fingerprint);
    (facts, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_issued_and_only_its_regions_can_open_the_key() {
    let fixture = AcmeFixture::new().await;
    fixture.store.put_region("us.example", &SealingKey::of(&[8; 32]).public_text()).await.unwrap();
    let names = ["example.test", "*.example.test"];
    let request = Request { regions: vec!["eu.example".to_owned()], ..fixture.request(&names) };
    issue(&fixture, &request).await;
    let keys = fixture.store.certificate_keys(&request.id).await.unwrap();
    let recipients: Vec<_> = keys.iter().map(|key| key.recipient.as_str()).collect();
    assert_eq!(recipients, ["eu.example", "issuer"]);
    assert!(open_key(&SealingKey::of(&[8; 32]), &request.id, &keys[0].sealed).is_err());
    let order = fixture.store.acme_order(&request.id).await.unwrap();
    assert!(order.is_none_or(|order| order.url.is_none()), "no order is under way any more");

    // Another region joins: the key is sealed to it, without another certificate.
    let wider = Request { regions: vec![], ..request };
    let progress = fixture.advance(&wider).await;
    assert_eq!(progress.state, CertificateState::UpToDate);
    assert_eq!(fixture.store.certificates_for("us.example").await.unwrap().list.len(), 1);
    assert_eq!(progress.stored.unwrap().revision, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_follows_its_cname() {
    let fixture = AcmeFixture::new().await;
    issue(&fixture, &fixture.request(&["alias.example.test"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_replaces_its_predecessor_and_may_keep_the_key() {
    let fixture = AcmeFixture::new().await;
    let request = Request { rotate: false, ..fixture.request(&["shop.example.test"]) };
    let (first, key) = issue(&fixture, &request).await;
    assert_eq!(fixture.advance(&request).await.state, CertificateState::UpToDate);
    let forced = Request { newer_than: Some(u64::MAX), ..request.clone() };
    let (second, same) = issue(&fixture, &forced).await;
    assert_ne!(first.fingerprint, second.fingerprint);
    assert_eq!(key, same);
    let (third, other) = issue(&fixture, &Request { rotate: true, ..forced }).await;
    assert_ne!(second.fingerprint, third.fingerprint);
    assert_ne!(key, other);
    assert_eq!(fixture.store.certificate(&request.id).await.unwrap().unwrap().revision, 3);
    assert!(
        fixture.pebble.log().contains("replaces") || fixture.pebble.log().contains("eplac"),
        "ARI says so"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_begin_at_once_share_an_account() {
    let fixture = AcmeFixture::new().await;
    let requests = [0, 1, 2, 3].map(|n| fixture.request(&[&format!("n{n}.example.test")]));
    let [a, b, c, d] = &requests;
    tokio::join!(issue(&fixture, a), issue(&fixture, b), issue(&fixture, c), issue(&fixture, d));
    for request in requests {
        issue(&fixture, &Request { newer_than: Some(u64::MAX), ..request }).await;
    }
    let log = fixture.pebble.log();
    assert_eq!(log.matches("There are now 1 accounts in memory").count(), 1, "{log}");
    assert!(!log.contains("There are now 2 accounts in memory"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_the_account_renews_with_another_one() {
    let fixture = AcmeFixture::new().await;
    let request = fixture.request(&["shop.example.test"]);
    issue(&fixture, &request).await;
    // What was sealed to the key before cannot be opened any more.
    let other = Issuer { operator_key: SealingKey::of(&[2; 32]), ..fixture.issuer("two") };
    let forced = Request { newer_than: Some(u64::MAX), ..request };
    let progress = other.advance(&forced).await.unwrap();
    assert_eq!(progress.state, CertificateState::Issued, "{:?}", progress.order);
    assert_eq!(progress.stored.unwrap().revision, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_keys_are_replaced_in_the_middle_of_an_order() {
    let fixture = AcmeFixture::new().await;
    let request = Request { rotate: false, ..fixture.request(&["shop.example.test"]) };
    let (_, before) = issue(&fixture, &request).await;
    let forced = Request { newer_than: Some(u64::MAX), ..request };
    let one = fixture.issuer("one");
    let begun = async {
        while fixture.store.acme_order(&forced.id).await.unwrap().is_none_or(|order| order.url.is_none()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        progress = one.advance(&forced) => panic!("{progress:?}"),
        () = begun => {}
    }
    let other = Issuer { operator_key: SealingKey::of(&[2; 32]), ..one };
    let progress = other.advance(&forced).await.unwrap();
    assert_eq!(progress.state, CertificateState::Issued, "{:?}", progress.order);
    let set = fixture.store.certificates_for("eu.example").await.unwrap();
    let (stored, sealed) = &set.list[0];
    let key = open_key(&SealingKey::of(&[7; 32]), &stored.id, sealed).unwrap();
    certificate::check(&stored.chain, &key, &forced.names, stored.issued_at).unwrap();
    assert_ne!(key, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_added_after_a_key_loss_gets_a_certificate_at_once() {
    let fixture = AcmeFixture::new().await;
    let request = fixture.request(&["shop.example.test"]);
    let (before, _) = issue(&fixture, &request).await;
    let other = Issuer { operator_key: SealingKey::of(&[2; 32]), ..fixture.issuer("two") };
    // Relays have it and it is not due: the loss alone costs no certificate.
    let progress = other.advance(&request).await.unwrap();
    assert_eq!(progress.stored.unwrap().fingerprint, before.fingerprint);
    fixture.store.put_region("us.example", &SealingKey::of(&[8; 32]).public_text()).await.unwrap();
    let progress = other.advance(&request).await.unwrap();
    assert_eq!(progress.state, CertificateState::Issued, "{:?}", progress.order);
    for (region, key) in [("eu.example", [7; 32]), ("us.example", [8; 32])] {
        let set = fixture.store.certificates_for(region).await.unwrap();
        let (stored, sealed) = &set.list[0];
        let key = open_key(&SealingKey::of(&key), &stored.id, sealed).unwrap();
        let facts = certificate::check(&stored.chain, &key, &request.names, stored.issued_at).unwrap();
        assert_ne!(facts.fingerprint, before.fingerprint, "{region}");
    }
    let again = other.advance(&request).await.unwrap();
    assert_ne!(again.state, CertificateState::Issued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ca_says_when_to_renew() {
    let fixture = AcmeFixture::new().await;
    let request = fixture.request(&["shop.example.test"]);
    issue(&fixture, &request).await;
    let progress = fixture.advance(&request).await;
    let order = progress.order.expect("what the CA said is kept");
    let at = order.renewal_at.expect("Pebble suggests a time");
    let stored = progress.stored.unwrap();
    assert!(at > stored.not_before && at < stored.not_after, "{at}");
    assert!(order.renewal_asked > stored.issued_at, "it is asked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_and_a_profile_are_issued() {
    let fixture = AcmeFixture::with(|behaviour| behaviour.short_seconds = 86_400).await;
    for (algorithm, name) in
        [(KeyAlgorithm::EcdsaP384, "p384.example.test"), (KeyAlgorithm::Rsa2048, "rsa.example.test")]
    {
        let request = fixture.request(&[name]);
        let ca = Ca { profile: Some("short".to_owned()), ..request.ca.clone() };
        let (facts, _) = issue(&fixture, &Request { algorithm, ca, ..request }).await;
        assert!(facts.not_after - facts.not_before <= 86_400, "{facts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_can_be_bound_to_another_one() {
    let key = BASE64_URL_SAFE_NO_PAD.encode([9; 32]);
    let fixture = AcmeFixture::with(|behaviour| behaviour.binding = Some(("kid-1".to_owned(), key))).await;
    let request = fixture.request(&["bound.example.test"]);
    let refused = fixture.advance(&request).await;
    assert_eq!(refused.state, CertificateState::Failed { reason: "ExternalAccountRequired" }, "{refused:?}");
    let binding = Some(Binding { key_id: "kid-1".to_owned(), key: vec![9; 32] });
    let bound = Request { id: "bound".to_owned(), ca: Ca { binding, ..request.ca.clone() }, ..request };
    issue(&fixture, &bound).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_issued_can_be_revoked() {
    let fixture = AcmeFixture::new().await;
    let request = fixture.request(&["shop.example.test"]);
    issue(&fixture, &request).await;
    fixture.issuer("one").revoke(&request).await.unwrap();
    fixture.issuer("one").revoke(&request).await.unwrap();
    assert!(fixture.pebble.log().contains("revoke"));
}
