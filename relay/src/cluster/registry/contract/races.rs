//! Accounts that want one endpoint at the same time: never do two have it.

use super::{
    contract,
    region::{MAX_WAIT, Region, Relay},
    within,
};
use crate::cluster::registry::{Claim, ClaimError};
use futures_util::future::join_all;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

contract![
    of_claims_at_once_the_greatest_generation_has_it_everywhere,
    of_claims_at_once_with_an_equal_generation_exactly_one_owner_is_accepted,
    claims_and_releases_at_once_leave_what_was_not_released,
];

const ROUNDS: u64 = 1_500;

/// Notes who owns an ownership, and that nobody else does.
fn note(owners: &mut HashMap<(String, u64), String>, relay: &Relay, host: &str) {
    if let Some(row) = relay.row(host) {
        let owner =
            owners.entry((host.to_owned(), row.generation)).or_insert_with(|| row.account.to_string());
        assert_eq!(*owner, row.account.to_string(), "two owners of generation {} of {host}", row.generation);
    }
}

/// What holds in the end of each round, for the beats without which the relays would lose each other.
struct Held {
    beaten: Instant,
    claims: HashMap<String, Vec<Claim>>,
}

impl Held {
    fn new() -> Self {
        Self { beaten: Instant::now(), claims: HashMap::new() }
    }

    async fn set(&mut self, relays: &[Relay], host: String, claims: Vec<Claim>) {
        self.claims.insert(host, claims);
        if self.beaten.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.beaten = Instant::now();
        for relay in relays {
            let own = self.claims.values().flatten().filter(|claim| claim.relay == relay.me);
            relay.beat(&own.cloned().collect::<Vec<_>>()).await;
        }
    }
}

async fn of_claims_at_once_the_greatest_generation_has_it_everywhere(region: Region) {
    let relays: [Relay; 3] = region.relays().await;
    let mut owners = HashMap::new();
    let mut held = Held::new();
    for round in 0..ROUNDS {
        // A few hosts in turn, so that generations also meet those of the rounds before.
        let host = format!("h{}.eu.example.com", round % 5);
        let claims: Vec<Claim> = (0..3_u64)
            .map(|i| {
                let generation = round * 3 + (i + round) % 3 + 1;
                relays[i as usize].claim(&host, &format!("account-{i}"), generation, &format!("s{round}-{i}"))
            })
            .collect();
        let answers =
            join_all(relays.iter().zip(&claims).map(|(relay, claim)| relay.registry.claim(claim))).await;
        for relay in &relays {
            note(&mut owners, relay, &host);
        }
        let greatest =
            claims.iter().zip(&relays).zip(&answers).max_by_key(|((claim, _), _)| claim.generation);
        let ((winner, of), answer) = greatest.unwrap();
        assert!(answer.is_ok(), "round {round}: {answer:?}");
        assert!(of.row(&host).is_some_and(|row| row.is_of(winner)), "round {round}");
        for (claim, answer) in claims.iter().zip(&answers).filter(|(claim, _)| *claim != winner) {
            let fits = match answer {
                Ok(()) => true,
                Err(ClaimError::Stale { generation }) => *generation > claim.generation,
                Err(_) => false,
            };
            assert!(fits, "round {round}: {answer:?}");
        }
        for relay in &relays {
            within(MAX_WAIT, || relay.row(&host).is_some_and(|row| row.is_of(winner)), true).await;
            assert_eq!(relay.row(&host).unwrap().sessions, [winner.row_session()]);
        }
        held.set(&relays, host, vec![winner.clone()]).await;
    }
}

async fn of_claims_at_once_with_an_equal_generation_exactly_one_owner_is_accepted(region: Region) {
    let relays: [Relay; 3] = region.relays().await;
    let mut held = Held::new();
    for round in 0..ROUNDS {
        let host = format!("h{}.eu.example.com", round % 5);
        let claims: Vec<Claim> = (0..6)
            .map(|i| {
                let who = format!("account-{}", i % 2);
                relays[i % 3].claim(&host, &who, round + 1, &format!("s{round}-{i}"))
            })
            .collect();
        let asked = claims.iter().enumerate().map(|(i, claim)| relays[i % 3].registry.claim(claim));
        let answers = join_all(asked).await;
        let accepted: Vec<&Claim> = claims
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(claim, _)| claim)
            .collect();
        let owner = &accepted.first().expect("one is accepted").account;
        assert_eq!(accepted.len(), 3, "round {round}: {answers:?}");
        assert!(accepted.iter().all(|claim| claim.account == *owner), "round {round}: {answers:?}");
        for relay in &relays {
            let sees = || relay.row(&host).filter(|row| row.account == *owner).map(|row| row.sessions.len());
            within(MAX_WAIT, sees, Some(3)).await;
        }
        held.set(&relays, host, accepted.into_iter().cloned().collect()).await;
    }
}

async fn claims_and_releases_at_once_leave_what_was_not_released(region: Region) {
    let relays: [Relay; 2] = region.relays().await;
    let mut held = Held::new();
    for round in 0..ROUNDS / 5 {
        let host = format!("h{round}.eu.example.com");
        let [a, b] =
            [0, 1].map(|i| [0, 1].map(|s| relays[i].claim(&host, "ann", 1, &format!("s{round}-{i}{s}"))));
        let ends = async |relay: &Relay, claims: &[Claim; 2]| {
            relay.registry.claim(&claims[0]).await.unwrap();
            let (claimed, ()) =
                tokio::join!(relay.registry.claim(&claims[1]), relay.registry.release(&claims[0]));
            claimed.unwrap();
        };
        tokio::join!(ends(&relays[0], &a), ends(&relays[1], &b));
        let wanted = format!("ann: s{round}-01@relay-1 s{round}-11@relay-2");
        Region::all_see(&[&relays[0], &relays[1]], &host, Some(&wanted)).await;
        tokio::join!(relays[0].registry.release(&a[1]), relays[1].registry.release(&b[1]));
        Region::all_see(&[&relays[0], &relays[1]], &host, None).await;
        held.set(&relays, host, Vec::new()).await;
    }
}
