//! `kubectl adit tunnels`: the tunnels of a region, as its relays have them.

use super::{
    cluster::{Cluster, id_of},
    command_error::CommandError,
    output::{Output, to_json},
    relays::ask_every_relay,
};
use crate::controller::NamespacedName;
use adit_terminal::Table;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The command that lists a relay's tunnels.
const LIST_TUNNELS: [&str; 5] = ["admin", "tunnels", "--json", "--socket", "/var/lib/adit/admin.sock"];

/// A tunnel of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tunnel {
    pub(super) url: String,
    pub(super) kind: String,
    pub(super) account: Value,
    pub(super) relays: Vec<ServingRelay>,
}

/// A relay that serves a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServingRelay {
    pub(super) relay: String,
    pub(super) sessions: u64,
    pub(super) streams: u64,
}

/// The tunnels of a region.
pub(super) async fn tunnels_of(
    cluster: &Cluster,
    region: &NamespacedName,
) -> Result<Vec<Tunnel>, CommandError> {
    Ok(merge(&ask_every_relay(cluster, region, &LIST_TUNNELS).await?))
}

/// Merges the relays' lists by URL.
fn merge(answers: &[(String, Value)]) -> Vec<Tunnel> {
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
            tunnel.relays.push(ServingRelay {
                relay: relay.clone(),
                sessions: view["sessions"].as_array().map_or(0, |all| all.len() as u64),
                streams: view["streams"].as_u64().unwrap_or(0),
            });
        }
    }
    tunnels.into_values().collect()
}

/// An account for people: the subject, with its issuer unless that is the provider.
pub(super) fn account_name(account: &Value) -> String {
    match account {
        Value::String(text) => text.clone(),
        other => match (other["issuer"].as_str(), other["subject"].as_str()) {
            (Some("adit") | None, Some(subject)) => subject.to_owned(),
            (Some(issuer), Some(subject)) => format!("{issuer}|{subject}"),
            _ => other.to_string(),
        },
    }
}

/// An account as Complaints name it: issuer, `|`, subject.
pub(super) fn account_id(account: &Value) -> String {
    let name = account_name(account);
    if name.contains('|') { name } else { format!("adit|{name}") }
}

/// Shows the tunnels of a region.
pub(super) async fn tunnels(
    cluster: &Cluster,
    region: Option<&str>,
    json: bool,
) -> Result<Output, CommandError> {
    let region = id_of(&cluster.region(region).await?);
    let tunnels = tunnels_of(cluster, &region).await?;
    Ok(Output::new(if json { to_json(&tunnels) } else { table(&tunnels) }))
}

fn table(tunnels: &[Tunnel]) -> String {
    let mut table = Table::new(["URL", "KIND", "ACCOUNT", "RELAYS", "SESSIONS", "STREAMS"])
        .right_align(3)
        .right_align(4)
        .right_align(5);
    for tunnel in tunnels {
        let sum = |part: fn(&ServingRelay) -> u64| tunnel.relays.iter().map(part).sum::<u64>().to_string();
        table.push([
            tunnel.url.clone(),
            tunnel.kind.clone(),
            account_name(&tunnel.account),
            tunnel.relays.len().to_string(),
            sum(|relay| relay.sessions),
            sum(|relay| relay.streams),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tunnel_of_two_relays_is_one_row() {
        let view = |streams: u64| {
            json!([{"url": "https://shop.eu.example.com", "kind": "http", "account": "me",
            "sessions": ["s-1", "s-2"], "streams": streams}])
        };
        let tunnels = merge(&[("eu-a".to_owned(), view(1)), ("eu-b".to_owned(), view(2))]);
        let table = table(&tunnels);
        let cells: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["https://shop.eu.example.com", "http", "me", "2", "4", "3"]);
        assert_eq!(table.lines().count(), 2);
    }

    #[test]
    fn an_account_of_another_issuer_is_shown_with_it() {
        assert_eq!(account_name(&json!("me")), "me");
        assert_eq!(
            account_name(&json!({"issuer": "https://id.example.com", "subject": "me"})),
            "https://id.example.com|me"
        );
        assert_eq!(account_id(&json!("me")), "adit|me");
        assert_eq!(
            account_id(&json!({"issuer": "https://id.example.com", "subject": "me"})),
            "https://id.example.com|me"
        );
    }
}
