//! Programs that compete for the same name, token or lease.

use crate::fixture::{NOW, REGION, StoreFixture, at, host, lease, reservation};
use adit_protocol::Account;
use adit_store::{
    LEASE_SECONDS, QUARANTINE_SECONDS, ReservationRequest, ReserveError, Store, Suspended, Suspension,
    UseTokenError,
};
use std::collections::HashSet;

/// Rounds of two rivals each.
const ROUNDS: usize = 2_000;

/// Makes two requests at once, each on the store of its own relay; the second relay begins in every other round.
/// Returns which of the two has the name, and its generation.
async fn contest(relays: [&Store; 2], wishes: [&ReservationRequest; 2], round: usize) -> (usize, u64) {
    let results = if round.is_multiple_of(2) {
        let (a, b) = tokio::join!(relays[0].reserve(wishes[0]), relays[1].reserve(wishes[1]));
        [a, b]
    } else {
        let (b, a) = tokio::join!(relays[1].reserve(wishes[1]), relays[0].reserve(wishes[0]));
        [a, b]
    };
    match &results {
        [Ok(reservation), Err(ReserveError::Taken)] => (0, reservation.generation),
        [Err(ReserveError::Taken), Ok(reservation)] => (1, reservation.generation),
        other => panic!("round {round}: {other:?}"),
    }
}

pub(crate) async fn of_two_accounts_that_want_one_name_exactly_one_has_it(fixture: StoreFixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let mut wins = [0, 0];
    for round in 0..ROUNDS {
        let name = format!("n{round}");
        let wishes = [&reservation(&name, "ada", "i-1"), &reservation(&name, "bob", "i-2")];
        let (winner, generation) = contest([&one, &two], wishes, round).await;
        wins[winner] += 1;
        assert_eq!(generation, 1, "round {round}");
        let held = one.held_name(REGION, &host(&name)).await.unwrap().unwrap();
        assert_eq!((held.account, held.generation), (wishes[winner].account.clone(), 1), "round {round}");
    }
    assert!(wins.iter().all(|wins| *wins > ROUNDS / 20), "no race: one side always came first, {wins:?}");
}

pub(crate) async fn one_of_two_accounts_has_a_name_at_the_end_of_its_quarantine(fixture: StoreFixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let mut now = NOW;
    let mut generation = one.reserve(&reservation("shop", "eve", "i-0")).await.unwrap().generation;
    for round in 0..ROUNDS / 4 {
        now += LEASE_SECONDS + QUARANTINE_SECONDS;
        // In each round both are strangers to the name.
        let (ada, bob) = (format!("ada-{round}"), format!("bob-{round}"));
        let wishes = [&at(now, reservation("shop", &ada, "i-1")), &at(now, reservation("shop", &bob, "i-1"))];
        let (winner, next) = contest([&one, &two], wishes, round).await;
        assert_eq!(next, generation + 1, "round {round}");
        generation = next;
        let held = one.held_name(REGION, &host("shop")).await.unwrap().unwrap();
        assert_eq!((held.account, held.generation), (wishes[winner].account.clone(), next), "round {round}");
    }
}

pub(crate) async fn instances_at_once_all_have_generations_of_their_own(fixture: StoreFixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    for round in 0..100 {
        let name = format!("n{round}");
        let tasks: Vec<_> = (0..6)
            .map(|n| {
                let store = if n % 2 == 0 { one.clone() } else { two.clone() };
                let wish = reservation(&name, "ada", &format!("i-{n}"));
                tokio::spawn(async move { (store.reserve(&wish).await.unwrap().generation, wish.instance) })
            })
            .collect();
        let mut owners = Vec::new();
        for task in tasks {
            owners.push(task.await.unwrap());
        }
        owners.sort();
        let generations: Vec<u64> = owners.iter().map(|(generation, _)| *generation).collect();
        assert_eq!(generations, [1, 2, 3, 4, 5, 6], "round {round}");
        let held = one.held_name(REGION, &host(&name)).await.unwrap().unwrap();
        assert_eq!(
            (held.generation, held.instance.as_str()),
            (6, owners[5].1.as_str()),
            "the last one stands"
        );
    }
}

pub(crate) async fn names_at_once_do_not_exceed_the_limit(fixture: StoreFixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    for round in 0..100 {
        let account = format!("ada-{round}");
        let tasks: Vec<_> = (0..6)
            .map(|n| {
                let store = if n % 2 == 0 { one.clone() } else { two.clone() };
                let wish = ReservationRequest {
                    names_limit: 3,
                    ..reservation(&format!("n{round}-{n}"), &account, "i-1")
                };
                tokio::spawn(async move { store.reserve(&wish).await })
            })
            .collect();
        let mut had = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => had += 1,
                Err(ReserveError::TooManyNames { limit: 3 }) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(had, 3, "round {round}");
    }
}

pub(crate) async fn of_two_keys_that_use_one_token_exactly_one_may(fixture: StoreFixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let ada = Account::managed("ada");
    for round in 0..ROUNDS / 2 {
        let id = format!("t{round}");
        let (a, b) = tokio::join!(
            one.use_token(&ada, &id, "key-1", NOW + 900, NOW),
            two.use_token(&ada, &id, "key-2", NOW + 900, NOW)
        );
        match (&a, &b) {
            (Ok(()), Err(UseTokenError::Used)) | (Err(UseTokenError::Used), Ok(())) => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// The two relays of a client extend the same leases, each in an order of its own.
pub(crate) async fn overlapping_extensions_do_not_block_each_other(fixture: StoreFixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let mut leases = Vec::new();
    for n in 0..200 {
        let name = format!("n{n}");
        one.reserve(&reservation(&name, "ada", "i-1")).await.unwrap();
        leases.push(lease(&name, "ada", 1));
    }
    let backwards: Vec<_> = leases.iter().rev().cloned().collect();
    for round in 1..=50 {
        let (a, b) = tokio::join!(
            one.extend(REGION, &leases, NOW + round),
            two.extend(REGION, &backwards, NOW + round)
        );
        assert_eq!((a.unwrap(), b.unwrap()), (vec![], vec![]), "round {round}");
    }
}

pub(crate) async fn versions_grow_by_one_with_every_suspension(fixture: StoreFixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let store = if n % 2 == 0 { one.clone() } else { two.clone() };
            let suspension = Suspension {
                id: format!("s{n}"),
                target: Suspended::Account(Account::managed(format!("a{n}"))),
                until: None,
                reason: "phishing".to_owned(),
                complaint: None,
                since: NOW,
                hostnames: vec![],
            };
            tokio::spawn(async move { store.suspend(&suspension).await.unwrap() })
        })
        .collect();
    let mut versions = HashSet::new();
    for task in tasks {
        versions.insert(task.await.unwrap());
    }
    assert_eq!(versions, (1..=60).collect());
    let all = one.suspensions(NOW).await.unwrap();
    assert_eq!((all.version, all.list.len()), (60, 60));
}
