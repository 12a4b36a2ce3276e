//! Short notation for events, for tests of the view.

use super::display_state::DisplayState;
use crate::event::{
    ClientState, Event, EventKind, Exchange, Session, SessionState, Time, Tunnel, TunnelState, TunnelStatus,
    VERSION,
};
use adit_protocol::{Code, Kind};
use std::time::Duration;

/// 2026-11-21T10:41:07Z.
pub(super) const START: Time = Time::from_unix_ms(1_795_257_667_000);

/// Something that happens so many seconds after [`START`].
pub(super) fn at(seconds: u64, kind: EventKind) -> Event {
    Event { v: VERSION, time: START + Duration::from_secs(seconds), kind }
}

/// The state after these words, all at [`START`].
pub(super) fn state(words: &[&str]) -> DisplayState {
    let mut state = DisplayState::new(false, START);
    play(&mut state, 0, words);
    state
}

/// Lets these words happen so many seconds after [`START`].
pub(super) fn play(state: &mut DisplayState, seconds: u64, words: &[&str]) {
    for line in words {
        state.apply(&at(seconds, event_kind(line, START + Duration::from_secs(seconds))));
    }
}

/// The event that a line stands for. Tunnels have their names as ids.
pub(super) fn event_kind(line: &str, now: Time) -> EventKind {
    let words: Vec<&str> = line.split(' ').collect();
    let rest = |from: usize| Some(words[from..].join(" ")).filter(|text| !text.is_empty());
    let client = |state| {
        let retry = words.iter().rposition(|w| *w == "in");
        let reason = Some(words[1..retry.unwrap_or(words.len())].join(" ")).filter(|text| !text.is_empty());
        let retry_at = retry.map(|at| now + Duration::from_millis(words[at + 1].parse().unwrap()));
        EventKind::ClientState { state, reason, retry_at }
    };
    let tunnel = |state, code: Option<&str>, reason, url: Option<&str>| {
        EventKind::TunnelState(TunnelStatus {
            tunnel: words[1].parse().unwrap(),
            state,
            url: url.map(str::to_owned),
            name_granted: None,
            code: code.map(|code| Code::from(code.to_owned())),
            reason,
            retry_at: None,
        })
    };
    match words[0] {
        "connecting" => client(ClientState::Connecting),
        "connected" => client(ClientState::Connected),
        "reconnecting" => client(ClientState::Reconnecting),
        "offline" => client(ClientState::Offline),
        "stopping" => client(ClientState::Stopping),
        "session" => EventKind::SessionState(Session {
            session: words[1].parse().unwrap(),
            relay: words[2].parse().unwrap(),
            region: "eu.example.com".into(),
            state: serde_json::from_value::<SessionState>(words[3].into()).unwrap(),
            latency_ms: words.get(4).map(|ms| ms.parse().unwrap()),
            reason: None,
        }),
        "tunnel" => added(words[1], words[2]),
        "open" => tunnel(TunnelState::Connected, None, None, Some(words[2])),
        "other-name" => {
            let EventKind::TunnelState(mut status) =
                tunnel(TunnelState::Connected, Some(words[3]), None, Some(words[2]))
            else {
                unreachable!()
            };
            status.name_granted = Some(false);
            EventKind::TunnelState(status)
        }
        "refused" => tunnel(TunnelState::Refused, Some(words[2]), rest(3), None),
        "down" => tunnel(TunnelState::ServiceDown, Some("service_down"), rest(2), None),
        "limited" => tunnel(TunnelState::Limited, Some("rate_limited"), rest(2), None),
        "paused" => tunnel(TunnelState::Paused, None, None, None),
        "request" => EventKind::Request(Exchange {
            tunnel: words[1].parse().unwrap(),
            id: format!("{line}{}", now.unix_ms()),
            consumer: Some("203.0.113.9".into()),
            method: Some(words[2].into()),
            status: Some(words[3].parse().unwrap()),
            duration_ms: words[4].parse().ok(),
            bytes_in: 0,
            bytes_out: words[5].parse().unwrap(),
            path: rest(6),
        }),
        other => panic!("{other} is not a word of scripts"),
    }
}

fn added(name: &str, service: &str) -> EventKind {
    let kind = if service.contains(':') { Kind::Tcp } else { Kind::Http };
    EventKind::TunnelAdded(Tunnel {
        tunnel: name.parse().unwrap(),
        name: Some(name.into()),
        kind,
        service: crate::Service::parse(kind, service).unwrap().to_string(),
        enabled: true,
        options: serde_json::Map::new(),
    })
}
