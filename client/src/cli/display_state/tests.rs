use super::*;
use crate::cli::script;
use crate::event::Exchange;

fn exchange(id: &str, status: u16, duration_ms: Option<u64>) -> EventKind {
    EventKind::Request(Exchange {
        tunnel: "tn_1".parse().unwrap(),
        id: id.into(),
        consumer: None,
        method: Some("GET".into()),
        path: Some("/".into()),
        status: Some(status),
        duration_ms,
        bytes_in: 0,
        bytes_out: 0,
    })
}

#[test]
fn open_exchanges_count_once_and_never_spoil_the_quantiles() {
    let mut state = script::state(&[]);
    for what in [exchange("a", 101, None), exchange("b", 200, None), exchange("c", 503, Some(7))] {
        state.apply(&script::at(0, what));
    }
    assert_eq!((state.traffic.total, state.traffic.open(), state.traffic.failed), (3, 2, 1));
    state.apply(&script::at(9, exchange("a", 101, Some(600_000))));
    state.apply(&script::at(9, exchange("b", 200, Some(1500))));
    assert_eq!((state.traffic.total, state.traffic.open()), (3, 0));
    assert_eq!(state.traffic.quantiles(), Some((7, 1500)));
}

#[test]
fn quantiles_are_of_the_newest_thousand() {
    let mut traffic = Traffic::default();
    assert_eq!(traffic.quantiles(), None);
    for duration in 0..3000 {
        let EventKind::Request(done) = exchange(&duration.to_string(), 200, Some(duration)) else {
            unreachable!()
        };
        traffic.count(&done);
    }
    assert_eq!(traffic.quantiles(), Some((2499, 2989)));
}

#[test]
fn what_is_open_is_bounded() {
    let mut state = script::state(&[]);
    for id in 0..10_000 {
        state.apply(&script::at(0, exchange(&id.to_string(), 101, None)));
    }
    assert_eq!(state.traffic.open(), 4096);
}

#[test]
fn tries_count_from_the_loss_on_until_a_connection() {
    let mut state =
        script::state(&["connecting connect.eu.example.com", "session s1 eu-1 connected", "connected"]);
    assert_eq!(state.tries, 1);
    script::play(&mut state, 1, &["session s1 eu-1 closed", "reconnecting in 800"]);
    assert_eq!(state.tries, 2);
    script::play(&mut state, 2, &["reconnecting in 1600", "offline network unreachable in 3000"]);
    assert_eq!(state.tries, 4);
    script::play(&mut state, 3, &["session s2 eu-1 connected", "connected"]);
    assert_eq!((state.tries, state.lost.clone(), state.alone_since), (1, None, None));
}

#[test]
fn a_relay_with_two_sessions_is_one_relay() {
    let state = script::state(&[
        "session s1 eu-1 connected 14",
        "session s2 eu-1 connected 12",
        "session s3 eu-2 connected",
    ]);
    assert_eq!(state.relays().into_iter().collect::<Vec<_>>(), [("eu-1", Some(12)), ("eu-2", None)]);
}

#[test]
fn a_client_that_stops_stops_whatever_happens_to_its_sessions() {
    let mut state = script::state(&["session s1 eu-1 connected", "connected", "stopping"]);
    script::play(&mut state, 1, &["session s1 eu-1 closed", "reconnecting in 800", "offline gone in 900"]);
    assert_eq!(state.client, ClientState::Stopping);
}
