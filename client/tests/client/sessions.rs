//! Which sessions a client holds.

use crate::relay::{Relay, Session, answer_as, event, http, read_all, relay_id, relays_in_turn, soon};
use adit::event::{ClientState, EventKind};
use adit_protocol::{RelayId, ToClient, ToRelay};
use adit_testkit::http::Service;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

async fn sessions(relay: &mut Relay, count: usize) -> Vec<Session> {
    let mut sessions = vec![];
    for _ in 0..count {
        sessions.push(relay.session().await);
    }
    sessions
}

#[tokio::test]
async fn a_client_holds_as_many_sessions_with_two_relays_as_those_say() {
    let service = Service::start().await;
    let held = Arc::new(Mutex::new(HashMap::<RelayId, u32>::new()));
    let count = held.clone();
    let mut turn = relays_in_turn(&["relay-a", "relay-b", "relay-c"], 2);
    let mut relay = Relay::with_policy(move |hello| {
        let answer = turn(hello);
        let count = count.clone();
        match answer {
            crate::relay::Answer::Welcome(change) => {
                crate::relay::Answer::Welcome(Box::new(move |welcome| {
                    change(welcome);
                    *count.lock().unwrap().entry(welcome.relay.clone()).or_default() += 1;
                }))
            }
            other => other,
        }
    })
    .await;
    let (_client, _events, first) = relay.serve(http(service.address())).await;
    assert!(first.hello.avoid.is_empty());
    let rest = sessions(&mut relay, 3).await;
    assert!(relay.is_left_alone(Duration::from_millis(300)).await);
    let held = held.lock().unwrap().clone();
    assert_eq!(held.values().sum::<u32>(), 4);
    assert!(held.len() == 2 && held.values().all(|sessions| *sessions == 2), "{held:?}");
    for session in rest.iter().chain([&first]) {
        assert_eq!(session.get("/").await.1, b"hello");
        assert_eq!(session.tunnel, first.tunnel);
    }
}

#[tokio::test]
async fn one_relay_alone_is_right_in_a_region_of_one() {
    let service = Service::start().await;
    let mut relay = Relay::with_policy(|hello| answer_as("relay-a", 1, 2, hello)).await;
    let (_client, mut events, _first) = relay.serve(http(service.address())).await;
    let _second = relay.session().await;
    assert!(relay.is_left_alone(Duration::from_millis(300)).await);
    event(&mut events, |what| match what {
        EventKind::ClientState { state: ClientState::Connected, reason, .. } => {
            assert_eq!(*reason, None);
            Some(())
        }
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_client_dials_a_second_relay_as_soon_as_it_hears_of_it() {
    let service = Service::start().await;
    let mut relay = Relay::with_policy(|hello| answer_as("relay-a", 1, 1, hello)).await;
    let (_client, _events, mut first) = relay.serve(http(service.address())).await;
    assert!(relay.is_left_alone(Duration::from_millis(300)).await);
    relay.set_policy(relays_in_turn(&["relay-a", "relay-b"], 1));
    first.tell(&ToClient::Relays { relays: 2 });
    let second = relay.session().await;
    assert_eq!(second.hello.avoid, [relay_id("relay-a")]);
    assert!(relay.is_left_alone(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_second_relay_that_does_not_answer_is_told_as_single_homed() {
    let service = Service::start().await;
    let dials = Arc::new(Mutex::new(0));
    let count = dials.clone();
    let mut relay = Relay::with_policy(move |hello| {
        *count.lock().unwrap() += 1;
        answer_as("relay-a", 2, 1, hello)
    })
    .await;
    let (_client, mut events, session) = relay.serve(http(service.address())).await;
    event(&mut events, |what| match what {
        EventKind::ClientState { state: ClientState::Connected, reason: Some(reason), .. } => {
            reason.starts_with("single-homed").then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(*dials.lock().unwrap(), 1 + 8);
    assert_eq!(session.get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_lost_session_is_replaced_while_the_other_carries_on() {
    let service = Service::start().await;
    let mut relay = Relay::with_policy(relays_in_turn(&["relay-a", "relay-b"], 1)).await;
    let (_client, _events, first) = relay.serve(http(service.address())).await;
    let second = relay.session().await;
    assert_eq!(second.hello.avoid, [relay_id("relay-a")]);
    drop(first);
    assert_eq!(second.get("/").await.1, b"hello");
    let third = relay.session().await;
    assert_eq!(third.hello.avoid, [relay_id("relay-b")]);
    assert_eq!(third.get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_client_that_is_to_move_dials_the_replacement_first() {
    let service = Service::start().await;
    let mut relay = Relay::with_policy(|hello| answer_as("relay-a", 1, 1, hello)).await;
    let (_client, _events, mut old) = relay.serve(http(service.address())).await;
    let (response, _) = old.open(old.request("GET", "/drip/20/20").body(()).unwrap(), true).await;
    let body = soon(response).await.unwrap().into_body();
    relay.set_policy(|hello| answer_as("relay-b", 2, 1, hello));
    old.tell(&ToClient::Move { deadline_ms: 30_000 });
    let new = relay.session().await;
    assert_eq!(new.hello.avoid, [relay_id("relay-a")]);
    assert!(new.hello.tunnels[0].ticket.is_some());
    assert!(matches!(old.hear().await, Some(ToRelay::Leave {})));
    assert_eq!(new.get("/").await.1, b"hello");
    assert_eq!(soon(read_all(body)).await.unwrap().len(), 100, "what is under way ends well");
    assert!(old.hear().await.is_none());
    old.ended().await;
}

#[tokio::test]
async fn a_client_of_the_only_relay_stays_and_finds_its_successor() {
    let service = Service::start().await;
    let mut relay = Relay::with_policy(|hello| answer_as("relay-a", 1, 1, hello)).await;
    let (_client, _events, mut old) = relay.serve(http(service.address())).await;
    old.tell(&ToClient::Move { deadline_ms: 30_000 });
    assert!(relay.is_left_alone(Duration::from_millis(300)).await);
    assert_eq!(old.get("/").await.1, b"hello");
    relay.set_policy(|hello| answer_as("relay-b", 1, 1, hello));
    old.tell(&ToClient::Close {
        code: adit_protocol::Code::Draining,
        message: "restart".into(),
        suspension: None,
    });
    let new = relay.session().await;
    assert_eq!(new.get("/").await.1, b"hello");
}
