//! The status line: the tunnel's state in one word, and its explanation.

use super::{
    super::{
        display_state::{DisplayState, TunnelView},
        line::{Line, Style},
        number,
    },
    frame::Frame,
};
use crate::event::{ClientState, SessionState, TunnelState};
use adit_protocol::Code;
use std::time::Duration;

/// How long a name stays its account's after its last session.
const NAME_LEASE: Duration = Duration::from_secs(5 * 60);
/// The column where the explanation begins.
const TEXT_COLUMN: usize = 15;

/// The lines of a client with one tunnel: one, or two where there is more to say.
pub(super) fn lines(state: &DisplayState, tunnel: Option<&TunnelView>, frame: &Frame) -> Vec<Line> {
    let well = matches!(state.client, ClientState::Connected | ClientState::Reconnecting)
        && !state.relays().is_empty();
    let of_tunnel = tunnel.filter(|_| well).and_then(of_tunnel);
    of_tunnel.map_or_else(|| client_lines(state, frame), |line| vec![line])
}

/// The tunnel's own status while the client is connected; `None` if all is well.
fn of_tunnel(tunnel: &TunnelView) -> Option<Line> {
    let reason = tunnel.reason.as_deref();
    Some(match tunnel.state {
        TunnelState::ServiceDown => {
            let reason =
                reason.map_or_else(|| format!("{} does not answer", tunnel.wanted.service), str::to_owned);
            let told = reason.contains("consumers get");
            labelled(
                Style::Bad,
                "service down",
                if told { reason } else { format!("{reason}; consumers get 502") },
            )
        }
        TunnelState::Limited => {
            labelled(Style::Warn, "limited", reason.unwrap_or("a limit of the account is reached"))
        }
        TunnelState::Paused => labelled(Style::Warn, "paused", "consumers get 503; p resumes"),
        TunnelState::Refused => {
            labelled(Style::Bad, "refused", coded(reason.unwrap_or("by the region"), tunnel.code))
        }
        TunnelState::Closed => {
            labelled(Style::Bad, "closed", coded(reason.unwrap_or("by the region"), tunnel.code))
        }
        TunnelState::Connected if tunnel.name_granted == Some(false) => {
            let asked = tunnel.wanted.name.as_deref().unwrap_or("the name");
            let refused =
                coded(&format!("as {}: \"{asked}\" was refused", granted_name(tunnel)), tunnel.name_code);
            labelled(Style::Warn, "connected*", refused)
        }
        TunnelState::Connecting => {
            labelled(Style::Warn, "connecting", reason.unwrap_or("the relay opens the tunnel"))
        }
        TunnelState::Connected => return None,
    })
}

/// The first label of the URL's host.
fn granted_name(tunnel: &TunnelView) -> &str {
    let host =
        tunnel.url.as_deref().and_then(|url| url.split_once("://")).map_or("another name", |(_, host)| host);
    host.split('.').next().unwrap_or(host)
}

fn coded(text: &str, code: Option<Code>) -> String {
    code.map_or_else(|| text.to_owned(), |code| format!("{text} [{code}]"))
}

/// The status of the client as a whole.
pub(super) fn client_lines(state: &DisplayState, frame: &Frame) -> Vec<Line> {
    let reason = state.reason.as_deref();
    let waited = number::ago(frame.now.since(state.since));
    match state.client {
        ClientState::Connecting => {
            let mut text = format!("{}, {waited}", state.host.as_deref().unwrap_or("the relay"));
            if let Some(reason) = reason {
                text.push_str(&format!(": {reason}"));
            }
            if let Some(at) = state.retry_at {
                text.push_str(&format!("; try {} in {}", state.tries, number::until(at, frame.now)));
            }
            vec![labelled(Style::Warn, "connecting", text)]
        }
        ClientState::Connected => vec![moving(state).unwrap_or_else(|| connected(state, frame))],
        // While the only relay drains, dials for its successor fail.
        ClientState::Reconnecting if state.relays().is_empty() => {
            vec![moving(state).unwrap_or_else(|| reconnecting(state, frame))]
        }
        ClientState::Reconnecting => vec![reconnecting(state, frame)],
        ClientState::Offline => offline(state, frame),
        ClientState::Suspended => {
            vec![labelled(Style::Bad, "suspended", reason.unwrap_or("by the provider"))]
        }
        ClientState::UpgradeRequired => {
            vec![labelled(Style::Bad, "too old", reason.unwrap_or("the relay needs a newer adit"))]
        }
        ClientState::Stopping => {
            let open = state.traffic.open();
            let text = match open {
                0 => "answers in flight have 5 s; a second signal ends it at once".to_owned(),
                1 => "1 answer in flight has 5 s; a second signal ends it at once".to_owned(),
                _ => format!("{open} answers in flight have 5 s; a second signal ends it at once"),
            };
            vec![labelled(Style::Warn, "stopping", text)]
        }
    }
}

fn connected(state: &DisplayState, frame: &Frame) -> Line {
    let relays = state.relays().into_iter().map(|(relay, latency)| match latency {
        Some(ms) => format!("{relay} {ms} ms"),
        None => relay.to_owned(),
    });
    let mut text = relays.collect::<Vec<_>>().join(", ");
    if let Some(reason) = &state.reason {
        text.push_str(&format!("; {reason}"));
        if let Some(at) = state.retry_at {
            text.push_str(&format!(", tries again in {}", number::until(at, frame.now)));
        }
    }
    labelled(Style::Good, "connected", text)
}

fn moving(state: &DisplayState) -> Option<Line> {
    let draining = state.draining.as_ref()?;
    state.sessions.values().find(|s| s.state == SessionState::Moving && s.relay == draining.relay)?;
    let text = match state.successor() {
        Some(relay) => format!("{} drains, {relay} has taken over", draining.relay),
        None => format!("{} drains, another relay is dialled", draining.relay),
    };
    Some(labelled(Style::Warn, "moving", text))
}

fn reconnecting(state: &DisplayState, frame: &Frame) -> Line {
    let relays = state.relays();
    let mut text = match (&state.lost, &state.reason) {
        (Some(lost), _) if relays.contains_key(lost.relay.as_str()) => {
            format!("one session with {} lost {} ago", lost.relay, number::ago(frame.now.since(lost.at)))
        }
        (Some(lost), _) => format!("{} lost {} ago", lost.relay, number::ago(frame.now.since(lost.at))),
        (None, Some(reason)) => reason.clone(),
        (None, None) => format!("for {}", number::ago(frame.now.since(state.since))),
    };
    text.push_str(&format!(", try {}", state.tries));
    if let Some(at) = state.retry_at.filter(|at| *at > frame.now) {
        text.push_str(&format!(" in {}", number::until(at, frame.now)));
    }
    let is_up = state.lost.as_ref().is_some_and(|lost| relays.contains_key(lost.relay.as_str()));
    let others: Vec<&str> = relays.into_keys().filter(|_| !is_up).collect();
    if let [relay] = others[..] {
        text.push_str(&format!("; {relay} carries on"));
    } else if !others.is_empty() {
        text.push_str(&format!("; {} carry on", others.join(" and ")));
    }
    labelled(Style::Warn, "reconnecting", text)
}

fn offline(state: &DisplayState, frame: &Frame) -> Vec<Line> {
    let since = state.alone_since.or(state.trying_since).unwrap_or(state.since);
    let mut text = format!("no relay for {}", number::ago(frame.now.since(since)));
    if let Some(reason) = &state.reason {
        text.push_str(&format!(": {reason}"));
    }
    text.push_str(&format!("; try {}", state.tries));
    if let Some(at) = state.retry_at.filter(|at| *at > frame.now) {
        text.push_str(&format!(" in {}", number::until(at, frame.now)));
    }
    let ours = since + NAME_LEASE;
    let named: Vec<String> =
        state.tunnels.iter().filter(|t| t.url.is_some()).filter_map(|t| t.wanted.name.clone()).collect();
    let whose = match named.as_slice() {
        _ if frame.now >= ours || state.alone_since.is_none() => String::new(),
        [] => String::new(),
        [name] => format!("\"{name}\" stays yours until {}", frame.clock.time_of_day(ours)),
        names => format!("{} names stay yours until {}", names.len(), frame.clock.time_of_day(ours)),
    };
    if whose.is_empty() {
        return vec![labelled(Style::Bad, "offline", text)];
    }
    vec![
        labelled(Style::Bad, "offline", format!("{text};")),
        Line::plain(format!("{:TEXT_COLUMN$}{whose}", "")),
    ]
}

fn labelled(style: Style, label: &str, text: impl AsRef<str>) -> Line {
    Line::default()
        .and(style, label)
        .and(Style::Plain, " ".repeat(TEXT_COLUMN.saturating_sub(label.len()).max(1)))
        .and(Style::Plain, text)
}

/// A tunnel's state in a table.
pub(super) fn word(tunnel: &TunnelView) -> (&'static str, Style) {
    if !tunnel.wanted.enabled {
        return ("disabled", Style::Dim);
    }
    match tunnel.state {
        TunnelState::Connecting => ("connecting", Style::Warn),
        TunnelState::Connected if tunnel.name_granted == Some(false) => ("connected*", Style::Warn),
        TunnelState::Connected => ("connected", Style::Good),
        TunnelState::Refused => (refused_word(tunnel.code), Style::Bad),
        TunnelState::ServiceDown => ("service down", Style::Bad),
        TunnelState::Limited => ("limited", Style::Warn),
        TunnelState::Paused => ("paused", Style::Warn),
        TunnelState::Closed => ("closed", Style::Bad),
    }
}

/// The state of a refused tunnel, by what was refused.
pub(crate) fn refused_word(code: Option<Code>) -> &'static str {
    match code {
        Some(Code::NameInvalid | Code::NameReserved | Code::NameTaken | Code::NameNotAllowed) => {
            "name refused"
        }
        Some(Code::KindNotAllowed) => "kind refused",
        Some(Code::PortUnavailable) => "port refused",
        Some(Code::TooManyTunnels | Code::TooManySessions | Code::TooManyNames) => "limit refused",
        _ => "refused",
    }
}
