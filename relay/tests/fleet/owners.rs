//! Several clients that ask for one name.

use crate::fixture::{FleetFixture, HOST, client_of, client_without_token, http_tunnel, until_open};
use adit::{Client, TunnelSpec, event::EventKind};
use adit_testkit::{
    http::{Consumer, Service},
    soak::{Record, scale},
    wait::{MAX_WAIT, until_done},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// A client of an account whose credential is in this folder.
fn client(fleet: &FleetFixture, folder: &Path, spec: TunnelSpec) -> Client {
    client_without_token(fleet).state_dir(folder).tunnel(spec).start().expect("the settings are right")
}

/// The URL of a client's tunnel, or the code of its refusal.
async fn outcome(client: &Client) -> Result<String, String> {
    let mut events = client.events(false);
    let waiting = async {
        while let Some(event) = events.next().await {
            match event.kind {
                EventKind::TunnelState(state) => match (state.url, state.code) {
                    (_, Some(code)) => return Err(code.to_string()),
                    (Some(url), None) => return Ok(url),
                    (None, None) => {}
                },
                EventKind::Error(problem) => return Err(problem.code),
                _ => {}
            }
        }
        Err("the client has ended".to_owned())
    };
    until_done("the client gets an answer", waiting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_accounts_that_want_a_name_at_once_one_gets_it() {
    let record = Record::begin("two accounts claim one name at once");
    let mut fleet = FleetFixture::empty("").await;
    let other = Service::start().await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (account, folder) in ["red", "blue"].iter().zip(&folders) {
        let spec = http_tunnel(fleet.service.address(), &format!("first-of-{account}"));
        let client = client_of(&fleet, account, &[]).state_dir(folder.path()).tunnel(spec).start().unwrap();
        until_open(&client).await;
        client.stop(Duration::from_secs(5)).await;
    }
    let rounds = scale(150, 3_000);
    let mut won = [0; 2];
    for round in 0..rounds {
        let (name, before) = (format!("prize-{round}"), [fleet.service.requests(), other.requests()]);
        let clients = [
            client(&fleet, folders[0].path(), http_tunnel(fleet.service.address(), &name)),
            client(&fleet, folders[1].path(), http_tunnel(other.address(), &name)),
        ];
        let (red, blue) = tokio::join!(outcome(&clients[0]), outcome(&clients[1]));
        let winner = match (&red, &blue) {
            (Ok(_), Err(code)) if code == "name_taken" => 0,
            (Err(code), Ok(_)) if code == "name_taken" => 1,
            both => panic!("round {round}: {both:?}"),
        };
        won[winner] += 1;
        let host = format!("{name}.adit.localhost");
        let mut served = 0;
        for relay in &fleet.relays {
            // A relay far from the winner may hear of it a moment later; the loser never serves anybody.
            let answer = Consumer::plain(relay.http()).get(&host, "/").await.unwrap();
            assert!(matches!(answer.status, 200 | 404 | 503), "{answer:?}");
            served += u64::from(answer.status == 200);
        }
        assert!(served > 0, "round {round}: nobody serves {name}");
        let mut after = before;
        after[winner] += served;
        assert_eq!([fleet.service.requests(), other.requests()], after, "round {round}: the loser was asked");
        let [red, blue] = clients;
        tokio::join!(red.stop(Duration::from_secs(5)), blue.stop(Duration::from_secs(5)));
    }
    assert!(fleet.relays.iter_mut().all(|relay| relay.child.is_running()));
    record.end(format!("{rounds} rounds, never two owners; {} to {}", won[0], won[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clients_of_one_account_the_newest_serves() {
    let record = Record::begin("one account's newest client takes a name over");
    let mut fleet = FleetFixture::start().await;
    let mut old = fleet.client.take().expect("every region begins with one");
    let mut services = vec![];
    let rounds = scale(10, 300);
    for round in 0..rounds {
        let service = Service::start().await;
        let new =
            client_of(&fleet, "ci", &[]).tunnel(http_tunnel(service.address(), "shop")).start().unwrap();
        until_open(&new).await;
        let replaced = until_done("the older client is told", old.closed()).await;
        let replaced = replaced.expect_err("it has lost its name");
        assert_eq!(replaced.code, "replaced", "round {round}");
        // From then on nobody is served by it, wherever they enter.
        let older = services.last().unwrap_or(&fleet.service).requests();
        for relay in &fleet.relays {
            let (mut served, end) = (0, Instant::now() + MAX_WAIT);
            while served < 3 {
                let answer = Consumer::plain(relay.http()).get(HOST, "/").await.unwrap();
                // A relay without a session of it may hear of the new one a moment after the old one has gone.
                let in_order = answer.status == 200 || (served == 0 && matches!(answer.status, 502 | 503));
                assert!(in_order && Instant::now() < end, "round {round} at {}: {answer:?}", relay.name);
                served += u32::from(answer.status == 200);
            }
        }
        assert_eq!(services.last().unwrap_or(&fleet.service).requests(), older, "round {round}");
        assert_eq!(service.requests(), 9);
        services.push(service);
        old = new;
    }
    fleet.until_two_relays_have_sessions().await;
    record.end(format!("{rounds} times, the older never served anybody afterwards"));
}
