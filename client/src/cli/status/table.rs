//! The table of `adit status`.

use super::{
    super::view::refused_word,
    snapshot::{ClientSnapshot, TunnelSnapshot},
};
use crate::event::{ClientState, SessionState, TunnelState};
use std::collections::BTreeSet;

/// The state of a tunnel in words.
pub(super) fn word(client: &ClientSnapshot, tunnel: &TunnelSnapshot) -> &'static str {
    if !tunnel.enabled {
        return "disabled";
    }
    match tunnel.state {
        TunnelState::Refused => return refused_word(tunnel.code),
        TunnelState::Closed => return "closed",
        _ => {}
    }
    match client.state {
        ClientState::Offline => return "offline",
        ClientState::Suspended => return "suspended",
        ClientState::UpgradeRequired => return "too old",
        ClientState::Stopping => return "stopping",
        ClientState::Reconnecting if relays(client, tunnel) == 0 => return "reconnecting",
        _ => {}
    }
    match tunnel.state {
        TunnelState::Connected if tunnel.name_granted == Some(false) => "connected*",
        TunnelState::Connected => "connected",
        TunnelState::ServiceDown => "service down",
        TunnelState::Limited => "limited",
        TunnelState::Paused => "paused",
        TunnelState::Connecting | TunnelState::Refused | TunnelState::Closed => "connecting",
    }
}

/// How many relays serve a tunnel.
pub(super) fn relays(client: &ClientSnapshot, tunnel: &TunnelSnapshot) -> usize {
    use TunnelState::{Connected, Limited, Paused, ServiceDown};
    if !matches!(tunnel.state, Connected | Limited | Paused | ServiceDown) {
        return 0;
    }
    let up =
        client.sessions.iter().filter(|s| matches!(s.state, SessionState::Connected | SessionState::Moving));
    up.map(|session| session.relay.as_str()).collect::<BTreeSet<_>>().len()
}

/// The table with its header; nothing for no tunnels.
pub(super) fn table(tunnels: &[(&ClientSnapshot, &TunnelSnapshot)]) -> String {
    if tunnels.is_empty() {
        return String::new();
    }
    let text = |text: Option<&String>| text.map_or("-", String::as_str).replace(char::is_control, " ");
    let header = ["NAME", "URL", "SERVICE", "STATE", "RELAYS"].map(str::to_owned);
    let rows = tunnels.iter().map(|(client, tunnel)| {
        [
            text(tunnel.name.as_ref()),
            text(tunnel.url.as_ref()),
            text(Some(&tunnel.service)),
            word(client, tunnel).to_owned(),
            relays(client, tunnel).to_string(),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut table = String::new();
    for row in &rows {
        let [name, url, service, state, relays] = row;
        let [a, b, c, d, e] = widths;
        table.push_str(&format!("{name:a$}  {url:b$}  {service:c$}  {state:d$}  {relays:>e$}\n"));
    }
    table
}
