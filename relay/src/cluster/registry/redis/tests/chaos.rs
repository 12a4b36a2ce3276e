//! Accounts race for endpoints while Redis fails in every way.

use super::*;
use adit_testkit::redis::Redis as Server;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::HashMap;

const ROUNDS: u64 = 400;
const CONTESTED: u64 = 8;

fn contested(number: u64) -> String {
    format!("c{number}.eu.example.com")
}

impl Serving {
    /// What a relay does when its table has changed: sessions that have lost their endpoint are ended.
    fn end_superseded(&self) {
        let table = self.relay.registry.table();
        self.claims
            .lock()
            .unwrap()
            .retain(|claim| table.row(&claim.endpoint).is_none_or(|row| !row.supersedes(claim)));
    }
}

fn spoil(server: &Server, random: &mut StdRng) {
    match random.random_range(0..40) {
        0 => server.flush(),
        1 => drop(server.run("CLIENT KILL TYPE normal SKIPME yes")),
        2 => drop(server.run("DEL {eu.example.com}:changes")),
        3 => drop(server.run("DEL {eu.example.com}:rows")),
        4 => drop(server.run("DEL {eu.example.com}:relays")),
        5 => drop(server.run("HINCRBY {eu.example.com}:rows :version 7")),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_greatest_generation_has_the_endpoint_in_the_end() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = Server::start();
    let region = Region::of(&server);
    let relays: [Relay; 3] = region.relays().await;
    let relays = relays.map(|relay| Serving::new(relay, Vec::new()));
    let mut owners: HashMap<(String, u64), String> = HashMap::new();
    for round in 1..=ROUNDS {
        spoil(&server, &mut random);
        let host = contested(random.random_range(0..CONTESTED));
        // Like the store: each generation goes to one account, which comes with it to one or two relays.
        let first = random.random_range(0..3);
        let (who, session) = (format!("account-{round}"), format!("s{round}"));
        let claims = [first, (first + random.random_range(0..3)) % 3].map(|place| {
            (place, relays[place].relay.claim(&host, &who, round, &format!("{session}-{place}")))
        });
        let [(a, one), (b, two)] = claims;
        let late = async {
            tokio::time::sleep(Duration::from_micros(500)).await;
            relays[b].claim(two).await
        };
        for outcome in <[_; 2]>::from(tokio::join!(relays[a].claim(one), late)) {
            assert!(!matches!(outcome, Err(ClaimError::Full)), "{outcome:?}");
        }
        for serving in &relays {
            serving.end_superseded();
            for number in 0..CONTESTED {
                if let Some(row) = serving.relay.row(&contested(number)) {
                    let key = (contested(number), row.generation);
                    let owner = owners.entry(key).or_insert_with(|| row.account.to_string());
                    assert_eq!(*owner, row.account.to_string(), "two owners of one generation");
                }
            }
        }
    }
    let held = || -> HashMap<String, Vec<Claim>> {
        let mut held: HashMap<String, Vec<Claim>> = HashMap::new();
        for serving in &relays {
            serving.end_superseded();
            for claim in serving.claims.lock().unwrap().iter() {
                held.entry(claim.endpoint.to_string()).or_default().push(claim.clone());
            }
        }
        held
    };
    until("every table has the greatest generation, with all its sessions", || {
        let held = held();
        (0..CONTESTED).map(contested).all(|host| {
            let claims = held.get(&host).map(Vec::as_slice).unwrap_or_default();
            let greatest = claims.iter().map(|claim| claim.generation).max();
            let mut sessions: Vec<_> = claims.iter().map(Claim::row_session).collect();
            sessions.sort();
            sessions.dedup();
            relays.iter().all(|serving| match serving.relay.row(&host) {
                Some(row) => Some(row.generation) == greatest && row.sessions == sessions,
                None => claims.is_empty(),
            })
        })
    })
    .await;
    assert!(owners.len() as u64 > ROUNDS / 4, "{} of {ROUNDS} rounds had an owner", owners.len());
}
