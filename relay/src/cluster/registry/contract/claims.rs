//! Who may have an endpoint.

use super::{
    contract,
    region::{MAX_WAIT, Region, within},
};
use crate::{
    cluster::{
        registry::{Claim, ClaimError},
        table::MAX_SESSIONS,
    },
    routing::route::Route,
};
use adit_protocol::Account;

contract![
    a_claim_is_in_the_own_table_at_once_and_soon_in_all_others,
    sessions_of_one_owner_share_a_row,
    options_of_a_later_version_arrive_as_they_are,
    an_owner_changes_its_options,
    a_greater_generation_takes_the_endpoint_everywhere,
    a_lesser_generation_is_refused,
    an_equal_generation_of_another_account_or_instance_is_refused,
    a_row_goes_with_its_last_session,
    releasing_what_was_superseded_changes_nothing,
    a_tunnel_that_is_opened_anew_is_not_released_with_the_old_one,
    a_claim_may_be_repeated,
    an_endpoint_has_only_so_many_sessions,
    accounts_are_counted,
    accounts_of_any_issuer_and_ports_are_carried_whole,
    the_greatest_generation_there_is_can_be_claimed,
];

const HOST: &str = "shop.eu.example.com";

async fn a_claim_is_in_the_own_table_at_once_and_soon_in_all_others(region: Region) {
    let [a, b] = region.relays().await;
    let mut changed = a.registry.table().changed();
    changed.mark_unchanged();
    a.registry.claim(&a.claim(HOST, "ann", 1, "s1")).await.unwrap();
    assert_eq!(a.sees(HOST).as_deref(), Some("ann: s1@relay-1"));
    assert!(changed.has_changed().unwrap());
    Region::all_see(&[&b], HOST, Some("ann: s1@relay-1")).await;
    assert_eq!(a.row(HOST), b.row(HOST));
    assert_eq!(a.row("other.eu.example.com"), None);
    let late = region.relay("relay-3").await;
    assert_eq!(late.row(HOST), a.row(HOST));
}

async fn sessions_of_one_owner_share_a_row(region: Region) {
    let [a, b] = region.relays().await;
    a.registry.claim(&a.claim(HOST, "ann", 1, "s1")).await.unwrap();
    b.registry.claim(&b.claim(HOST, "ann", 1, "s2")).await.unwrap();
    assert_eq!(b.sees(HOST).as_deref(), Some("ann: s1@relay-1 s2@relay-2"));
    Region::all_see(&[&a], HOST, Some("ann: s1@relay-1 s2@relay-2")).await;
}

/// Numbers, empty lists and text that another reader of JSON would change.
const LATER_OPTIONS: &str =
    r#"{"later":{"list":[],"map":{},"n":18446744073709551615,"text":"ü \"quoted\"\n","x":0.1}}"#;

fn with_options(claim: Claim, json: &str) -> Claim {
    Claim { options: serde_json::from_str(json).unwrap(), ..claim }
}

async fn options_of_a_later_version_arrive_as_they_are(region: Region) {
    let [a, b] = region.relays().await;
    a.registry.claim(&with_options(a.claim(HOST, "ann", 1, "s1"), LATER_OPTIONS)).await.unwrap();
    Region::all_see(&[&a, &b], HOST, Some("ann: s1@relay-1")).await;
    let late = region.relay("relay-3").await;
    for relay in [&a, &b, &late] {
        let route = Route::There(relay.row(HOST).unwrap());
        assert_eq!(serde_json::to_string(route.options()).unwrap(), LATER_OPTIONS, "{}", relay.me);
    }
}

async fn an_owner_changes_its_options(region: Region) {
    let [a, b] = region.relays().await;
    let claim = a.claim(HOST, "ann", 1, "s1");
    a.registry.claim(&claim).await.unwrap();
    Region::all_see(&[&b], HOST, Some("ann: s1@relay-1")).await;
    for options in [LATER_OPTIONS, "{}"] {
        let claim = with_options(claim.clone(), options);
        a.registry.claim(&claim).await.unwrap();
        let seen = || b.row(HOST).map(|row| row.options.clone());
        within(MAX_WAIT, seen, Some(claim.options.clone())).await;
    }
}

async fn a_greater_generation_takes_the_endpoint_everywhere(region: Region) {
    let [a, b, c] = region.relays().await;
    a.registry.claim(&a.claim(HOST, "ann", 7, "s1")).await.unwrap();
    b.registry.claim(&b.claim(HOST, "ann", 7, "s2")).await.unwrap();
    c.registry.claim(&c.claim(HOST, "bob", 10, "s3")).await.unwrap();
    Region::all_see(&[&a, &b, &c], HOST, Some("bob: s3@relay-3")).await;
    // The relay of the old owner still serves it and says so: that takes nothing back.
    a.beat(&[a.claim(HOST, "ann", 7, "s1")]).await;
    assert_eq!(a.sees(HOST).as_deref(), Some("bob: s3@relay-3"));
    Region::all_see(&[&a, &b, &c], HOST, Some("bob: s3@relay-3")).await;
}

async fn a_lesser_generation_is_refused(region: Region) {
    let [a, b] = region.relays().await;
    a.registry.claim(&a.claim(HOST, "ann", 100, "s1")).await.unwrap();
    let refused = b.registry.claim(&b.claim(HOST, "bob", 99, "s2")).await;
    assert!(matches!(refused, Err(ClaimError::Stale { generation: 100 })), "{refused:?}");
    assert_eq!(b.sees(HOST).as_deref(), Some("ann: s1@relay-1"));
    let refused = b.registry.admit(&b.claim(HOST, "bob", 99, "s2"));
    assert!(matches!(refused, Err(ClaimError::Stale { generation: 100 })), "{refused:?}");
    Region::all_see(&[&a, &b], HOST, Some("ann: s1@relay-1")).await;
}

async fn an_equal_generation_of_another_account_or_instance_is_refused(region: Region) {
    let [a, b] = region.relays().await;
    a.registry.claim(&a.claim(HOST, "ann", 3, "s1")).await.unwrap();
    let other_account = b.claim(HOST, "bob", 3, "s2");
    let mut other_instance = b.claim(HOST, "ann", 3, "s3");
    other_instance.instance = "second".parse().unwrap();
    for claim in [other_account, other_instance] {
        let refused = b.registry.claim(&claim).await;
        assert!(matches!(refused, Err(ClaimError::Stale { generation: 3 })), "{refused:?}");
    }
    assert_eq!(b.sees(HOST).as_deref(), Some("ann: s1@relay-1"));
    assert_eq!(a.sees(HOST).as_deref(), Some("ann: s1@relay-1"));
}

async fn a_row_goes_with_its_last_session(region: Region) {
    let [a, b] = region.relays().await;
    let (one, two) = (a.claim(HOST, "ann", 1, "s1"), b.claim(HOST, "ann", 1, "s2"));
    a.registry.claim(&one).await.unwrap();
    b.registry.claim(&two).await.unwrap();
    a.registry.release(&one).await;
    Region::all_see(&[&a, &b], HOST, Some("ann: s2@relay-2")).await;
    b.registry.release(&two).await;
    assert_eq!(b.sees(HOST), None);
    Region::all_see(&[&a, &b], HOST, None).await;
    // What is gone is forgotten: the store says who may have it, not the registry.
    a.registry.claim(&a.claim(HOST, "bob", 1, "s3")).await.unwrap();
    Region::all_see(&[&a, &b], HOST, Some("bob: s3@relay-1")).await;
}

async fn releasing_what_was_superseded_changes_nothing(region: Region) {
    let [a, b] = region.relays().await;
    let old = a.claim(HOST, "ann", 1, "s1");
    a.registry.claim(&old).await.unwrap();
    b.registry.claim(&b.claim(HOST, "bob", 2, "s1")).await.unwrap();
    Region::all_see(&[&a], HOST, Some("bob: s1@relay-2")).await;
    a.registry.release(&old).await;
    a.beat(&[]).await;
    a.registry.claim(&a.claim("marker.eu.example.com", "ann", 1, "s4")).await.unwrap();
    Region::all_see(&[&b], "marker.eu.example.com", Some("ann: s4@relay-1")).await;
    Region::all_see(&[&a, &b], HOST, Some("bob: s1@relay-2")).await;
}

async fn a_tunnel_that_is_opened_anew_is_not_released_with_the_old_one(region: Region) {
    let [a, b] = region.relays().await;
    let old = a.claim(HOST, "ann", 1, "s1");
    let mut new = old.clone();
    new.tunnel = "tn_2".parse().unwrap();
    a.registry.claim(&old).await.unwrap();
    a.registry.claim(&new).await.unwrap();
    a.registry.release(&old).await;
    assert_eq!(a.sees(HOST).as_deref(), Some("ann: s1@relay-1"));
    Region::all_see(&[&b], HOST, Some("ann: s1@relay-1")).await;
    super::within(
        super::region::MAX_WAIT,
        || b.row(HOST).map(|r| r.tunnel.clone()),
        Some(new.tunnel.clone()),
    )
    .await;
    a.registry.release(&new).await;
    Region::all_see(&[&a, &b], HOST, None).await;
}

async fn a_claim_may_be_repeated(region: Region) {
    let [a, b] = region.relays().await;
    let claim = a.claim(HOST, "ann", 1, "s1");
    for _ in 0..3 {
        a.registry.claim(&claim).await.unwrap();
    }
    Region::all_see(&[&a, &b], HOST, Some("ann: s1@relay-1")).await;
    a.registry.release(&claim).await;
    Region::all_see(&[&a, &b], HOST, None).await;
}

async fn an_endpoint_has_only_so_many_sessions(region: Region) {
    let [a, b] = region.relays().await;
    for number in 0..MAX_SESSIONS {
        a.registry.claim(&a.claim(HOST, "ann", 1, &format!("s{number}"))).await.unwrap();
    }
    let refused = b.registry.claim(&b.claim(HOST, "ann", 1, "one-more")).await;
    assert!(matches!(refused, Err(ClaimError::Full)), "{refused:?}");
    a.registry.claim(&a.claim(HOST, "ann", 1, "s0")).await.unwrap();
    b.registry.claim(&b.claim(HOST, "ann", 2, "one-more")).await.unwrap();
    Region::all_see(&[&a, &b], HOST, Some("ann: one-more@relay-2")).await;
}

async fn accounts_are_counted(region: Region) {
    let [a, b] = region.relays().await;
    let ann = Account::managed("ann");
    a.registry.claim(&a.claim("one.eu.example.com", "ann", 1, "s1")).await.unwrap();
    b.registry.claim(&b.claim("two.eu.example.com", "ann", 1, "s2")).await.unwrap();
    b.registry.claim(&b.claim("two.eu.example.com", "ann", 1, "s3")).await.unwrap();
    let count = |relay: &super::Relay, account: &Account| {
        let table = relay.registry.table();
        (table.rows_of(account), table.sessions_of(account), table.rows())
    };
    for relay in [&a, &b] {
        super::within(super::region::MAX_WAIT, || count(relay, &ann), (2, 3, 2)).await;
    }
    a.registry.claim(&a.claim("two.eu.example.com", "bob", 2, "s4")).await.unwrap();
    for relay in [&a, &b] {
        super::within(super::region::MAX_WAIT, || count(relay, &ann), (1, 1, 2)).await;
        assert_eq!(count(relay, &Account::managed("bob")), (1, 1, 2));
        assert_eq!(count(relay, &Account::managed("nobody")), (0, 0, 2));
    }
}

async fn accounts_of_any_issuer_and_ports_are_carried_whole(region: Region) {
    let [a, b] = region.relays().await;
    let mut claim = a.claim("tcp:20022", "ann", u64::from(u32::MAX) << 30, "s1");
    claim.account = Account { issuer: "https://id.example/\"ä\\".into(), subject: "x|y/ü'\"\\ {}".into() };
    a.registry.claim(&claim).await.unwrap();
    super::within(super::region::MAX_WAIT, || b.row("tcp:20022").map(|row| row.is_of(&claim)), Some(true))
        .await;
    assert_eq!(b.row("tcp:20022"), a.row("tcp:20022"));
    assert_eq!(b.row("tcp:20023"), None);
    assert_eq!(b.row("20022"), None);
}

async fn the_greatest_generation_there_is_can_be_claimed(region: Region) {
    let [a, b] = region.relays().await;
    // Beyond 2^53 numbers of Lua are no longer exact.
    for (generation, who) in [(u64::MAX - 1, "ann"), (u64::MAX, "bob")] {
        a.registry.claim(&a.claim(HOST, who, generation, "s1")).await.unwrap();
    }
    let refused = b.registry.claim(&b.claim(HOST, "ann", u64::MAX - 1, "s2")).await;
    assert!(matches!(refused, Err(ClaimError::Stale { generation: u64::MAX })), "{refused:?}");
}
