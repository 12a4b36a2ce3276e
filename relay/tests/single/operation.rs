//! Operation of a running relay: log rotation, closed sessions, drain.

use crate::relay_fixture::{HOST, RelayFixture, region};
use adit_testkit::{http::Service, process::Signal, wait::until};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// A relay that serves [`HOST`] by a service of its own.
async fn start() -> (RelayFixture, Service) {
    let service = Service::start().await;
    (RelayFixture::publishing(region(), service.address()).await, service)
}

fn admin_json(fixture: &RelayFixture, arguments: &[&str]) -> Value {
    serde_json::from_str(&fixture.admin_output(arguments)).unwrap()
}

fn sessions(fixture: &RelayFixture) -> Vec<String> {
    let list = admin_json(fixture, &["sessions", "--json"]);
    list.as_array().unwrap().iter().map(|one| one["session"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_opens_the_access_log_anew() {
    let (mut fixture, _service) = start().await;
    let log = fixture.relay.config.with_file_name("access.log");
    let old = log.with_extension("log.1");
    let consumer = fixture.consumer();
    let has = |path: &Path, what: &str| std::fs::read_to_string(path).is_ok_and(|text| text.contains(what));
    assert_eq!(consumer.get(HOST, "/echo?before").await.unwrap().status, 200);
    until("the first line is written", || has(&log, "?before")).await;
    std::fs::rename(&log, &old).unwrap();
    fixture.relay.child.signal(Signal::Hup);
    until("there is a new file", || log.exists()).await;
    assert_eq!(consumer.get(HOST, "/echo?after").await.unwrap().status, 200);
    until("the second line is in the new file", || has(&log, "?after")).await;
    assert!(!has(&old, "?after") && !has(&log, "?before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_goes_and_its_client_comes_back() {
    let (fixture, _service) = start().await;
    let before = sessions(&fixture);
    let first = &before[0];
    let refused = fixture.admin(&["close", first]);
    assert_eq!(refused.status.code(), Some(2), "nobody can be asked here");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing was done [unconfirmed]"));
    assert!(refused.stderr.ends_with(b"\n"));
    assert!(sessions(&fixture).contains(first));
    let closed = admin_json(&fixture, &["close", first, "--yes", "--json"]);
    assert_eq!((&closed["session"], &closed["account"]), (&first.as_str().into(), &"ci".into()));
    until("the session is gone", || !sessions(&fixture).contains(first)).await;
    until("the client is back", || !sessions(&fixture).is_empty()).await;
    let gone = fixture.admin(&["close", first, "--yes"]);
    assert_eq!(gone.status.code(), Some(4), "{}", String::from_utf8_lossy(&gone.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_takes_its_answers_in_flight_to_their_end() {
    let service = Service::start().await;
    let fixture = RelayFixture::start(region());
    let tunnel = fixture.publish(service.address()).await;
    // 12 s, which a relay once cut after 10.
    let (consumer, before) = (fixture.consumer(), service.requests());
    let slow = tokio::spawn(async move { consumer.get(HOST, "/drip/120/100").await });
    until("the service has the request", || service.requests() > before).await;
    tunnel.close(Duration::from_secs(60)).await;
    let answer = slow.await.unwrap().expect("the answer is whole");
    assert_eq!((answer.status, answer.body.len()), (200, 120 * "drip\n".len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_drain_timeout_a_client_that_goes_holds_nothing() {
    let service = Service::start().await;
    let fixture = RelayFixture::start(region().with("drainTimeout: 1s"));
    let tunnel = fixture.publish(service.address()).await;
    let (consumer, before) = (fixture.consumer(), service.requests());
    let slow = tokio::spawn(async move { consumer.get(HOST, "/drip/100000/100").await });
    until("the service has the request", || service.requests() > before).await;
    tunnel.close(Duration::from_secs(3600)).await;
    assert!(slow.await.unwrap().is_err(), "what was cut must not look whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_told_to_drain_ends_by_itself() {
    let (mut fixture, _service) = start().await;
    let preview = fixture.admin_output(&["drain", "--dry-run"]);
    assert!(preview.starts_with("would drain the relay"), "{preview}");
    assert!(fixture.relay.child.is_running());
    fixture.admin_output(&["drain", "--yes"]);
    let status = fixture.relay.child.wait(Duration::from_secs(60)).unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_alone_waits_for_streams_and_not_for_sessions() {
    let service = Service::start().await;
    let mut fixture = RelayFixture::publishing(region().with("drainTimeout: 1h"), service.address()).await;
    let (consumer, before) = (fixture.consumer(), service.requests());
    let slow = tokio::spawn(async move { consumer.get(HOST, "/drip/30/100").await });
    until("the service has the request", || service.requests() > before).await;
    fixture.relay.child.signal(Signal::Term);
    let answer = slow.await.unwrap().expect("the answer is whole");
    assert_eq!((answer.status, answer.body.len()), (200, 30 * "drip\n".len()));
    let status = fixture.relay.child.wait(Duration::from_secs(60));
    assert_eq!(status.expect("the session of the client does not hold the relay").code(), Some(0));
    fixture.restart();
    let end = Instant::now() + Duration::from_secs(60);
    while !matches!(fixture.consumer().get(HOST, "/echo").await, Ok(answer) if answer.status == 200) {
        assert!(Instant::now() < end, "the client does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
