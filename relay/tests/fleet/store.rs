//! Postgres stops, hangs and comes back under load.

use crate::fixture::{FleetFixture, HOST, client_of, client_without_token, http_tunnel, until_open};
use adit::{Client, event::EventKind};
use adit_testkit::{
    http::Consumer,
    load_generator::LoadGenerator,
    postgres::Postgres,
    region::RelayProcess,
    soak::{Record, scale},
    wait::{until, until_done},
};
use std::{path::Path, time::Duration};

/// A client with a credential in this folder, which asks for a name.
fn with_credential(fleet: &FleetFixture, folder: &Path, name: &str) -> Client {
    let builder =
        client_without_token(fleet).state_dir(folder).tunnel(http_tunnel(fleet.service.address(), name));
    builder.start().expect("the client's settings are right")
}

/// Obtains a credential for an account; to use it takes no store afterwards.
async fn credential(fleet: &FleetFixture, account: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spec = http_tunnel(fleet.service.address(), &format!("first-of-{account}"));
    let client = client_of(fleet, account, &[]).state_dir(folder.path()).tunnel(spec).start().unwrap();
    until_open(&client).await;
    client.stop(Duration::from_secs(5)).await;
    folder
}

/// The code of the next refusal of a client's tunnel, or the message of that of its session.
async fn next_refusal(client: &Client) -> String {
    let mut events = client.events(false);
    let waiting = async {
        while let Some(event) = events.next().await {
            match event.kind {
                EventKind::TunnelState(state) => {
                    if let Some(code) = state.code {
                        return code.to_string();
                    }
                }
                // A session that is refused for a while is dialled again.
                EventKind::ClientState { reason: Some(reason), .. } if reason.contains("store") => {
                    return reason;
                }
                EventKind::Error(problem) | EventKind::Notice(problem) => return problem.code,
                _ => {}
            }
        }
        "the client has ended".to_owned()
    };
    until_done("the client hears of its refusal", waiting).await
}

/// Asserts that a new name and a new token are refused without a store.
async fn new_names_are_refused(fleet: &FleetFixture, folder: &Path, round: usize) {
    let client = with_credential(fleet, folder, &format!("new-{round}"));
    assert_eq!(next_refusal(&client).await, "store_unavailable");
    drop(client);
    let spec = http_tunnel(fleet.service.address(), "stranger");
    let stranger = client_of(fleet, &format!("stranger-{round}"), &[]).tunnel(spec).start().unwrap();
    assert_eq!(next_refusal(&stranger).await, "the store cannot be reached, and a new token needs it");
}

/// Asserts that a new name is granted once the store is back.
async fn new_names_are_had(fleet: &FleetFixture, folder: &Path, name: &str) {
    let client = with_credential(fleet, folder, name);
    until_open(&client).await;
    let host = format!("{name}.adit.localhost");
    fleet.until_served(&host).await;
    client.stop(Duration::from_secs(5)).await;
}

fn sessions_opened(relay: &RelayProcess) -> u64 {
    relay.metric("adit_sessions_opened_total")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_store_tunnels_go_on_and_new_names_wait() {
    let record = Record::begin("the store stops, hangs and comes back under load");
    let mut postgres = Postgres::start();
    let mut fleet = FleetFixture::of_one_lane(postgres.database()).await;
    let folder = credential(&fleet, "keeper").await;
    let load = LoadGenerator::start(&fleet.http_addresses(), 3, HOST, "/bytes/1000");
    load.until_answered(200).await;
    let rounds = scale(1, 10);
    for round in 0..rounds {
        // Stopped: connections are cut and refused.
        postgres.stop();
        load.until_answered(scale(500, 20_000)).await;
        new_names_are_refused(&fleet, folder.path(), 2 * round).await;
        assert!(fleet.relays.iter().any(|relay| relay.metric("adit_claim_failures_total") > 0));
        load.until_answered(200).await;
        postgres.restart();
        new_names_are_had(&fleet, folder.path(), &format!("after-stop-{round}")).await;

        // Frozen: connections stay open, nothing is answered.
        postgres.freeze();
        load.until_answered(scale(500, 20_000)).await;
        new_names_are_refused(&fleet, folder.path(), 2 * round + 1).await;
        postgres.thaw();
        new_names_are_had(&fleet, folder.path(), &format!("after-freeze-{round}")).await;
    }

    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "of {answered}: {failures:?}");

    // A relay goes, and its client's ticket is good at the relay that is left, without a store.
    postgres.stop();
    let third = fleet.relay_without_session();
    let before = sessions_opened(&fleet.relays[third]);
    let home = fleet.relays_with_sessions()[0];
    let load = LoadGenerator::start(&fleet.http_addresses_except(home), 3, HOST, "/bytes/1000");
    load.until_answered(100).await;
    fleet.relays[home].child.term();
    until("the client has a session with the third relay", || {
        fleet.relays[third].metric("adit_sessions_open") > 0
    })
    .await;
    assert!(sessions_opened(&fleet.relays[third]) > before);
    until("the relay has ended", || !fleet.relays[home].child.is_running()).await;
    let (more, failures) = load.stop().await;
    assert!(failures.is_empty(), "of {more}: {failures:?}");
    let answer = Consumer::plain(fleet.relays[third].http()).get(HOST, "/").await.unwrap();
    assert_eq!(answer.status, 200);

    postgres.restart();
    fleet.restart(home);
    new_names_are_had(&fleet, folder.path(), "at-the-end").await;
    record.end(format!("{rounds} rounds, {} requests, 0 failed", answered + more));
}

/// The relay's pool of connections to its store is small: claims queue for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_claims_than_store_connections_are_all_granted() {
    let fleet = FleetFixture::start().await;
    let count = scale(30, 300);
    let clients: Vec<Client> = (0..count)
        .map(|number| {
            let spec = http_tunnel(fleet.service.address(), &format!("crowd-{number}"));
            client_of(&fleet, &format!("crowd-{number}"), &[]).tunnel(spec).start().unwrap()
        })
        .collect();
    for client in &clients {
        until_open(client).await;
    }
    for number in 0..count {
        let host = format!("crowd-{number}.adit.localhost");
        let entry = &fleet.relays[number % 3];
        until("the entry knows it", || knows(entry, &host)).await;
    }
}

fn knows(relay: &RelayProcess, host: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut tcp) = std::net::TcpStream::connect(relay.http()) else { return false };
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    tcp.write_all(request.as_bytes()).is_ok()
        && tcp.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
