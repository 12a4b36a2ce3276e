//! The table of `adit status`.

use super::{
    super::view::refused_word,
    snapshot::{ClientSnapshot, TunnelSnapshot},
};
use crate::event::{ClientState, SessionState, TunnelState};
use adit_terminal::Table;
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
    if relays(client, tunnel) > 0
        && client.sessions.iter().all(|session| session.state == SessionState::Moving)
    {
        return "moving";
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
    let text = |text: Option<&String>| text.map_or("-", String::as_str).to_owned();
    let mut table = Table::new(["NAME", "URL", "SERVICE", "STATE", "RELAYS"]).right_align(4);
    for (client, tunnel) in tunnels {
        table.push([
            text(tunnel.name.as_ref()),
            text(tunnel.url.as_ref()),
            tunnel.service.clone(),
            word(client, tunnel).to_owned(),
            relays(client, tunnel).to_string(),
        ]);
    }
    table.to_string()
}
