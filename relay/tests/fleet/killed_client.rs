//! Clients that are killed.

use crate::fixture::{FleetFixture, HOST};
use adit_testkit::{
    http::Consumer,
    load_generator::LoadGenerator,
    process::Child,
    soak::{Record, scale},
    wait::until,
};
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// Not a test by itself: other tests start this program again with this test alone, and kill it.
#[test]
fn client_process() {
    let Ok(what) = std::env::var("FLEET_CLIENT") else { return };
    let [relay, ca, token, service, name]: [&str; 5] =
        what.split(' ').collect::<Vec<_>>().try_into().expect("five words");
    let builder = match name.parse::<u16>() {
        Ok(port) => adit::Tunnel::tcp(service).port(port),
        Err(_) => adit::Tunnel::http(service).name(name),
    };
    let tunnel = builder.relay(relay).ca(ca).token(token);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tunnel = tunnel.open().await.expect("the tunnel opens");
        println!("open {}", tunnel.url());
        let closed = tunnel.closed().await;
        println!("closed {closed:?}");
    });
}

/// Starts a client as a process of its own. It publishes a service under a name, or under a port if the name is a number.
pub(crate) fn start_client(fleet: &FleetFixture, account: &str, service: &str, name: &str) -> Child {
    let kinds: &[&str] = if name.parse::<u16>().is_ok() { &["--kinds", "tcp"] } else { &[] };
    let token = fleet.region.token(&fleet.relays[0], account, kinds);
    let relay = fleet.relay_address();
    let ca = fleet.region.ca();
    let what = [&relay, path(&ca), &token, service, name].join(" ");
    let mut child = Child::start(
        Command::new(std::env::current_exe().unwrap())
            .args(["killed_client::client_process", "--exact", "--nocapture"])
            .env("FLEET_CLIENT", what),
    );
    child.wait_for_line("open ", Duration::from_secs(60));
    child
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of a temporary folder")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_is_missed_at_once_and_gets_its_name_back() {
    let record = Record::begin("a client is killed under load and comes back");
    let fleet = FleetFixture::empty("").await;
    let service = fleet.service.address().to_string();
    let mut client = start_client(&fleet, "ci", &service, "shop");
    fleet.until_two_relays_have_sessions().await;
    fleet.until_served(HOST).await;
    let load = LoadGenerator::start(&fleet.http_addresses(), 3, HOST, "/bytes/1000");
    load.until_answered(500).await;
    let rounds = scale(2, 30);
    for _ in 0..rounds {
        client.kill();
        let killed = Instant::now();
        until("its sessions have ended", || fleet.relays_with_sessions().is_empty()).await;
        for relay in &fleet.relays {
            let consumer = Consumer::plain(relay.http());
            // The table of a relay that had no session of it hears of its end a moment later.
            let answer = loop {
                let answer = consumer.get(HOST, "/").await.expect("an answer, whatever happens");
                let code = answer.header("adit-error").unwrap_or_default().to_owned();
                assert!(
                    matches!(
                        (answer.status, &*code),
                        (502, "session_lost") | (503, "tunnel_offline") | (404, "unknown_host")
                    ),
                    "{answer:?}"
                );
                if answer.status != 502 {
                    break answer;
                }
                assert!(killed.elapsed() < Duration::from_secs(60));
            };
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
        // The name is the account's own: no lease has to end first.
        client = start_client(&fleet, "ci", &service, "shop");
        fleet.until_two_relays_have_sessions().await;
        load.until_answered(500).await;
    }
    let (answered, failures) = load.stop().await;
    let explained = |failure: &&String| {
        let known = ["session_lost", "tunnel_offline", "unknown_host", "answer:"];
        !known.iter().any(|known| failure.contains(known))
    };
    let unexplained: Vec<_> = failures.iter().filter(explained).collect();
    assert!(unexplained.is_empty(), "of {answered}: {unexplained:?}");
    record.end(format!("{rounds} times, {answered} requests, {} failed meanwhile", failures.len()));
}

/// Every consumer gets an answer, and none waits for the response timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_of_a_killed_client_are_told_at_once() {
    let fleet = FleetFixture::empty("").await;
    let mut client = start_client(&fleet, "ci", &fleet.service.address().to_string(), "shop");
    fleet.until_two_relays_have_sessions().await;
    fleet.until_served(HOST).await;
    let before = fleet.service.requests();
    let asked: Vec<_> = (0..60)
        .map(|number| {
            let consumer = Consumer::plain(fleet.relays[number % 3].http());
            tokio::spawn(async move { consumer.get(HOST, "/hang").await })
        })
        .collect();
    until("the service has all requests", || fleet.service.requests() >= before + 60).await;
    client.kill();
    for answer in asked {
        let answer =
            answer.await.unwrap().expect("an answer, well before the consumer's patience of 30 s ends");
        let code = answer.header("adit-error").unwrap_or_default();
        // A GET is tried once more elsewhere, where the client is not any more either.
        assert!(
            matches!((answer.status, code), (502, "session_lost") | (503, "tunnel_offline")),
            "{answer:?}"
        );
        assert_eq!(answer.json()["code"], code);
        assert!(answer.header("retry-after").is_some());
    }
    fleet.until_streams_ended().await;
}
