//! The Postgres role of a relay: its rights suffice for a relay's work and for nothing else.

use crate::fixture::{NOW, REGION, StoreFixture, lease, reservation};
use adit_protocol::Account;
use adit_store::{RelayStatus, Store, StoreUrl, Suspended, Suspension};
use sqlx::{Connection, PgConnection};

/// A role that may log in and nothing more, and the store as it sees it.
async fn role(fixture: &StoreFixture, name: &'static str, create: &'static str) -> Store {
    let StoreUrl::Postgres(url) = &fixture.url else { panic!("a role needs Postgres") };
    let mut owner = PgConnection::connect(url).await.unwrap();
    sqlx::query(create).execute(&mut owner).await.unwrap();
    let url: StoreUrl = url.replace("postgres://postgres@", &format!("postgres://{name}@")).parse().unwrap();
    assert_eq!(url.role().as_deref(), Some(name));
    Store::open(&url).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_works_with_its_rights_and_can_do_no_more() {
    let fixture = StoreFixture::postgres();
    let owner = fixture.open().await;
    let relay = role(&fixture, "a_relay", "CREATE ROLE a_relay LOGIN").await;
    assert!(relay.suspensions(NOW).await.is_err(), "it has no rights yet");
    owner.grant_relay("a_relay").await.unwrap();
    owner.grant_relay("a_relay").await.unwrap();

    relay.migrate().await.unwrap();
    relay.suspensions(NOW).await.unwrap();
    let reserved = relay.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    assert!(reserved.generation > 0);
    relay.extend(REGION, &[lease("shop", "ada", reserved.generation)], NOW + 60).await.unwrap();
    relay.release(REGION, &lease("shop", "ada", reserved.generation), NOW + 61).await.unwrap();
    relay.use_token(&Account::managed("ada"), "t", "k", NOW + 900, NOW).await.unwrap();
    let seen = RelayStatus {
        region: REGION.to_owned(),
        relay: "r-1".parse().unwrap(),
        started: NOW,
        seen: NOW,
        suspensions_version: 0,
        config_revision: "abc".to_owned(),
        config_refused: None,
        draining: false,
        sessions: 1,
        tunnels: 1,
        registry_up: true,
        challenges_version: 0,
        served: vec![],
        certificate_problem: None,
    };
    relay.challenges(NOW).await.unwrap();
    relay.certificates_for(REGION).await.unwrap();
    assert!(relay.put_region(REGION, "key").await.is_err(), "keys would be sealed to whoever is in a relay");
    assert!(relay.acme_account("a").await.is_err());
    assert!(relay.take_fence("f", "relay", 1, NOW).await.is_err());
    assert!(relay.put_challenges("c", &[], NOW).await.is_err());
    relay.relay_seen(&seen).await.unwrap();
    assert_eq!(owner.relays_seen().await.unwrap(), std::slice::from_ref(&seen));
    relay.relay_gone(REGION, &seen.relay).await.unwrap();

    let suspension = Suspension {
        id: "s".to_owned(),
        target: Suspended::Account(Account::managed("ada")),
        until: None,
        reason: "phishing".to_owned(),
        complaint: None,
        since: NOW,
        hostnames: vec![],
    };
    assert!(relay.suspend(&suspension).await.is_err(), "no relay suspends");
    assert!(relay.complaints(None, 1).await.is_err(), "nor does it read who complained");
    relay.confirm(&seen, &[("s".to_owned(), 1)]).await.unwrap();

    let other = role(&fixture, "another", "CREATE ROLE another LOGIN").await;
    let _ = relay.grant_relay("another").await;
    assert!(other.suspensions(NOW).await.is_err(), "no relay gives rights");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_rights_cannot_make_the_tables_and_says_so() {
    let fixture = StoreFixture::postgres();
    let relay = role(&fixture, "a_stranger", "CREATE ROLE a_stranger LOGIN").await;
    assert!(relay.migrate().await.is_err());
    fixture.open().await;
    assert!(relay.migrate().await.is_err(), "it may not even see that they are there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_role_is_no_statement() {
    let fixture = StoreFixture::postgres();
    let owner = fixture.open().await;
    assert!(owner.grant_relay("x\"; DROP TABLE relays; --").await.is_err());
    assert_eq!(owner.relays_seen().await.unwrap(), []);
}
