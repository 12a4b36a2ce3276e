//! What an operator does to a relay that runs: logs are rotated, sessions closed, the relay drained.

use crate::open_tunnel;
use adit::Tunnel;
use adit_testkit::{
    http::{Consumer, Service},
    process::Signal,
    region::{Region, Relay},
    wait::until,
};
use std::{
    process::{Command, Output},
    time::Duration,
};

const HOST: &str = "shop.adit.localhost";

async fn shop() -> (Region, Relay, Service, Tunnel) {
    let region = Region::new(env!("CARGO_BIN_EXE_adit-relay"));
    let relay = region.start("a");
    let service = Service::start().await;
    let tunnel = open_tunnel(&region, &relay, &service, "shop").await;
    (region, relay, service, tunnel)
}

fn admin(relay: &Relay, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit-relay"));
    command.arg("admin").args(words.split(' ')).arg("--config").arg(&relay.config).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sessions(relay: &Relay) -> Vec<String> {
    let list = json(&admin(relay, "sessions --json"));
    list.as_array().unwrap().iter().map(|one| one["session"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_opens_the_access_log_anew() {
    let (_region, mut relay, _service, _tunnel) = shop().await;
    let (log, old) = (relay.config.with_file_name("access.log"), relay.config.with_file_name("access.log.1"));
    let consumer = Consumer::plain(relay.http());
    let has = |path: &std::path::Path, what: &str| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains(what))
    };
    assert_eq!(consumer.get(HOST, "/echo?before").await.unwrap().status, 200);
    until("the first line is written", || has(&log, "?before")).await;
    std::fs::rename(&log, &old).unwrap();
    relay.child.signal(Signal::Hup);
    until("there is a new file", || log.exists()).await;
    assert_eq!(consumer.get(HOST, "/echo?after").await.unwrap().status, 200);
    until("the second line is in the new file", || has(&log, "?after")).await;
    assert!(!has(&old, "?after") && !has(&log, "?before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_goes_and_its_client_comes_back() {
    let (_region, relay, _service, _tunnel) = shop().await;
    let before = sessions(&relay);
    let first = &before[0];
    let refused = admin(&relay, &format!("close {first}"));
    assert_eq!(refused.status.code(), Some(2), "nobody can be asked here");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing was done [unconfirmed]"));
    assert!(refused.stderr.ends_with(b"\n"));
    assert!(sessions(&relay).contains(first));
    let closed = json(&admin(&relay, &format!("close {first} --yes --json")));
    assert_eq!((&closed["session"], &closed["account"]), (&first.as_str().into(), &"ci".into()));
    until("the session is gone", || !sessions(&relay).contains(first)).await;
    until("the client is back", || !sessions(&relay).is_empty()).await;
    let gone = admin(&relay, &format!("close {first} --yes"));
    assert_eq!(gone.status.code(), Some(4), "{}", String::from_utf8_lossy(&gone.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_takes_its_answers_in_flight_to_their_end() {
    let (_region, relay, service, tunnel) = shop().await;
    // 12 s, which a relay once cut after 10.
    let (consumer, before) = (Consumer::plain(relay.http()), service.requests());
    let slow = tokio::spawn(async move { consumer.get(HOST, "/drip/120/100").await });
    until("the service has the request", || service.requests() > before).await;
    tunnel.close(Duration::from_secs(60)).await;
    let answer = slow.await.unwrap().expect("the answer is whole");
    assert_eq!((answer.status, answer.body.len()), (200, 120 * "drip\n".len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_drain_timeout_a_client_that_goes_holds_nothing() {
    let region = Region::new(env!("CARGO_BIN_EXE_adit-relay")).with("drainTimeout: 1s");
    let (relay, service) = (region.start("a"), Service::start().await);
    let tunnel = open_tunnel(&region, &relay, &service, "shop").await;
    let (consumer, before) = (Consumer::plain(relay.http()), service.requests());
    let slow = tokio::spawn(async move { consumer.get(HOST, "/drip/100000/100").await });
    until("the service has the request", || service.requests() > before).await;
    tunnel.close(Duration::from_secs(3600)).await;
    assert!(slow.await.unwrap().is_err(), "what was cut must not look whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_told_to_drain_ends_by_itself() {
    let (_region, mut relay, _service, _tunnel) = shop().await;
    let said = admin(&relay, "drain --dry-run");
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("would do: drains the relay"));
    assert!(relay.child.is_running());
    assert!(admin(&relay, "drain --yes").status.success());
    let status = relay.child.wait(Duration::from_secs(60)).unwrap();
    assert_eq!(status.code(), Some(0));
}
