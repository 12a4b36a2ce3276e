//! Lists as tables for people.

use crate::ops::admin::{SessionView, TunnelView, complaints::ComplaintView};
use adit_terminal::{Table, age};

pub(super) fn sessions(sessions: &[SessionView], now: u64) -> String {
    let mut table = Table::new(["SESSION", "ACCOUNT", "ADDRESS", "CLIENT", "TUNNELS", "STREAMS", "AGE"]);
    for s in sessions {
        table.push([
            s.session.to_string(),
            s.account.to_string(),
            s.address.clone(),
            s.client_version.clone(),
            s.tunnels.len().to_string(),
            s.streams.to_string(),
            age(now.saturating_sub(s.opened_at)),
        ]);
    }
    table.to_string()
}

pub(super) fn tunnels(tunnels: &[TunnelView], now: u64) -> String {
    let mut table = Table::new(["TUNNEL", "URL", "ACCOUNT", "SESSIONS", "STREAMS", "AGE"]);
    for t in tunnels {
        table.push([
            t.tunnel.to_string(),
            t.url.clone(),
            t.account.to_string(),
            t.sessions.len().to_string(),
            t.streams.to_string(),
            age(now.saturating_sub(t.opened_at)),
        ]);
    }
    table.to_string()
}

pub(super) fn complaints(complaints: &[ComplaintView], now: u64) -> String {
    let mut table = Table::new(["COMPLAINT", "PHASE", "AGAINST", "CATEGORY", "ACCOUNT", "RELAYS", "AGE"]);
    for c in complaints {
        table.push([
            c.id.clone(),
            c.phase.clone(),
            c.against.clone(),
            c.category.clone(),
            c.account.clone().unwrap_or_else(|| "-".to_owned()),
            c.relays.clone(),
            age(now.saturating_sub(c.filed_at)),
        ]);
    }
    table.to_string()
}
