//! `kubectl adit tunnels`: what the relays of a region have now.

use super::{Answer, Failure, kubectl::Kubectl, table::columns};
use adit_api::Region;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

const ADMIN: [&str; 5] = ["admin", "tunnels", "--json", "--socket", "/var/lib/adit/admin.sock"];

/// A tunnel, over all relays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tunnel {
    pub(super) url: String,
    pub(super) kind: String,
    pub(super) account: Value,
    pub(super) relays: Vec<Served>,
}

/// A relay that serves a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Served {
    pub(super) relay: String,
    pub(super) sessions: u64,
    pub(super) streams: u64,
}

/// All tunnels of a region.
pub(super) fn of(kubectl: &Kubectl, region: &Region) -> Result<Vec<Tunnel>, Failure> {
    Ok(together(&kubectl.every_relay(region, &ADMIN)?))
}

/// What relays say, tunnel by tunnel.
fn together(answers: &[(String, Value)]) -> Vec<Tunnel> {
    let mut tunnels: BTreeMap<String, Tunnel> = BTreeMap::new();
    for (relay, views) in answers {
        for view in views.as_array().into_iter().flatten() {
            let text = |field: &str| view[field].as_str().unwrap_or_default().to_owned();
            let url = text("url");
            let tunnel = tunnels.entry(url.clone()).or_insert_with(|| Tunnel {
                url,
                kind: text("kind"),
                account: view["account"].clone(),
                relays: Vec::new(),
            });
            tunnel.relays.push(Served {
                relay: relay.clone(),
                sessions: view["sessions"].as_array().map_or(0, |all| all.len() as u64),
                streams: view["streams"].as_u64().unwrap_or(0),
            });
        }
    }
    tunnels.into_values().collect()
}

/// An account as people write it: the subject, with its issuer where it is not the provider's own.
pub(super) fn account(account: &Value) -> String {
    match account {
        Value::String(text) => text.clone(),
        other => match (other["issuer"].as_str(), other["subject"].as_str()) {
            (Some("adit") | None, Some(subject)) => subject.to_owned(),
            (Some(issuer), Some(subject)) => format!("{issuer}|{subject}"),
            _ => other.to_string(),
        },
    }
}

/// An account as complaints have it: issuer, |, subject.
pub(super) fn key(account: &Value) -> String {
    let shown = self::account(account);
    if shown.contains('|') { shown } else { format!("adit|{shown}") }
}

pub(super) fn tunnels(kubectl: &Kubectl, region: Option<&str>, json: bool) -> Result<Answer, Failure> {
    let tunnels = of(kubectl, &kubectl.region(region)?)?;
    let text = if json { super::request::pretty(&tunnels) } else { table(&tunnels) };
    Ok(Answer { text, is_problem: false })
}

fn table(tunnels: &[Tunnel]) -> String {
    let mut rows =
        vec![["URL", "KIND", "ACCOUNT", "RELAYS", "SESSIONS", "STREAMS"].map(str::to_owned).to_vec()];
    for tunnel in tunnels {
        let sum = |part: fn(&Served) -> u64| tunnel.relays.iter().map(part).sum::<u64>().to_string();
        rows.push(vec![
            tunnel.url.clone(),
            tunnel.kind.clone(),
            account(&tunnel.account),
            tunnel.relays.len().to_string(),
            sum(|served| served.sessions),
            sum(|served| served.streams),
        ]);
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tunnel_of_two_relays_is_one_line() {
        let view = |streams: u64| {
            json!([{"url": "https://shop.eu.example.com", "kind": "http", "account": "me",
            "sessions": ["s-1", "s-2"], "streams": streams}])
        };
        let tunnels = together(&[("eu-a".to_owned(), view(1)), ("eu-b".to_owned(), view(2))]);
        let table = table(&tunnels);
        let cells: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["https://shop.eu.example.com", "http", "me", "2", "4", "3"]);
        assert_eq!(table.lines().count(), 2);
    }

    #[test]
    fn an_account_of_another_issuer_is_shown_with_it() {
        assert_eq!(account(&json!("me")), "me");
        assert_eq!(
            account(&json!({"issuer": "https://id.example.com", "subject": "me"})),
            "https://id.example.com|me"
        );
        assert_eq!(key(&json!("me")), "adit|me");
        assert_eq!(
            key(&json!({"issuer": "https://id.example.com", "subject": "me"})),
            "https://id.example.com|me"
        );
    }
}
