//! `adit status`: the snapshots of this user's running clients.

pub(super) mod snapshot;
pub(super) mod socket;
mod table;

use super::{args, folder};
use crate::{event::Time, problem::Problem};
use serde_json::json;
use snapshot::{ClientSnapshot, TunnelSnapshot};
use std::{collections::BTreeSet, path::Path, time::Duration};

/// The code with which the command ends if something is not well.
const PROBLEM_EXIT_CODE: u8 = 8;
/// How long a client may take to connect before that is a problem.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);

/// The command's output and exit code.
pub(super) struct StatusReport {
    /// For stdout.
    pub(super) results: String,
    /// For stderr.
    pub(super) remarks: Vec<String>,
    /// 0, or 8 if something is not well.
    pub(super) exit_code: u8,
}

/// Asks the running clients.
pub(super) fn ask(args: &args::Status, json: bool, directory: &Path) -> StatusReport {
    let clients = folder::runtime().map(|folder| snapshot::read_all(&folder)).unwrap_or_default();
    answer(&clients, args.which.as_deref(), json, directory, Time::now())
}

fn answer(
    clients: &[ClientSnapshot],
    which: Option<&str>,
    json: bool,
    directory: &Path,
    now: Time,
) -> StatusReport {
    let all = clients.iter().flat_map(|client| client.tunnels.iter().map(move |tunnel| (client, tunnel)));
    let chosen: Vec<(&ClientSnapshot, &TunnelSnapshot)> = all
        .filter(|(client, tunnel)| which.is_none_or(|which| matches(which, client, tunnel, directory)))
        .collect();
    let mut remarks: Vec<String> = chosen
        .iter()
        .filter(|(client, tunnel)| is_problem(client, tunnel, now) || table::word(client, tunnel) == "moving")
        .filter_map(|(client, tunnel)| remark(client, tunnel))
        .collect();
    if chosen.is_empty() {
        remarks.push(match which {
            Some(which) => format!("no tunnel of yours is {which:.80?}"),
            None => "no tunnel of yours is open on this computer".to_owned(),
        });
    }
    let bad = chosen.iter().any(|(client, tunnel)| is_problem(client, tunnel, now))
        || (chosen.is_empty() && which.is_some());
    let results = if json { as_json(&chosen) } else { table::table(&chosen) };
    StatusReport { results, remarks, exit_code: if bad { PROBLEM_EXIT_CODE } else { 0 } }
}

/// Whether an enabled tunnel's consumers do not reach its service.
fn is_problem(client: &ClientSnapshot, tunnel: &TunnelSnapshot, now: Time) -> bool {
    match table::word(client, tunnel) {
        _ if !tunnel.enabled => false,
        "connected" | "connected*" | "paused" | "moving" => false,
        // A client that has just begun is not a problem yet.
        "connecting" => now.since(client.since.max(tunnel.since)) > MAX_CONNECT_TIME,
        _ => true,
    }
}

/// The problem of a tunnel in one line.
fn remark(client: &ClientSnapshot, tunnel: &TunnelSnapshot) -> Option<String> {
    let name = tunnel.name.as_deref().unwrap_or(&tunnel.service);
    if table::word(client, tunnel) == "moving" {
        let relays: BTreeSet<&str> = client.sessions.iter().map(|session| session.relay.as_str()).collect();
        let relays = relays.into_iter().collect::<Vec<_>>().join(" and ");
        return Some(format!(
            "{name}: {relays} shuts down or restarts; the client is dialling its successor"
        ));
    }
    let reason = tunnel.reason.as_deref().or(client.reason.as_deref());
    let Some(code) = tunnel.code else { return reason.map(|reason| format!("{name}: {reason}")) };
    let mut problem = Problem::new(code.as_str()).with("service", tunnel.service.as_str());
    problem = problem.with("kind", tunnel.kind.to_string()).with("region", client.region.as_str());
    for (fact, value) in [("name", tunnel.name.as_deref()), ("message", reason)] {
        problem = value.map_or(problem.clone(), |value| problem.with(fact, value));
    }
    Some(format!("{name}: {problem}"))
}

fn as_json(chosen: &[(&ClientSnapshot, &TunnelSnapshot)]) -> String {
    let tunnels: Vec<_> = chosen
        .iter()
        .map(|(client, tunnel)| {
            let mut value = serde_json::to_value(tunnel).unwrap_or_default();
            if let Some(fields) = value.as_object_mut() {
                fields.insert("relays".into(), table::relays(client, tunnel).into());
                fields.insert("pid".into(), client.pid.into());
                fields.insert("version".into(), client.version.as_str().into());
                fields.insert("region".into(), client.region.as_str().into());
                fields.insert("directory".into(), client.directory.as_str().into());
                fields.insert("client".into(), json!({"state": client.state, "reason": client.reason}));
                fields.insert("sessions".into(), serde_json::to_value(&client.sessions).unwrap_or_default());
            }
            value
        })
        .collect();
    format!("{:#}\n", json!({"v": snapshot::VERSION, "tunnels": tunnels}))
}

/// Whether a tunnel is the one that is meant: by name, id, port, directory, service or URL.
fn matches(which: &str, client: &ClientSnapshot, tunnel: &TunnelSnapshot, directory: &Path) -> bool {
    if tunnel.name.as_deref() == Some(which) || tunnel.tunnel.as_str() == which || tunnel.service == which {
        return true;
    }
    if let Ok(port) = which.parse::<u16>() {
        return tunnel.service.ends_with(&format!(":{port}"));
    }
    let address =
        |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_lowercase();
    let host = address(which).split('/').next().map(str::to_owned).unwrap_or_default();
    if [Some(&tunnel.service), tunnel.url.as_ref()].into_iter().flatten().any(|url| address(url) == host) {
        return true;
    }
    let there = directory.join(which).canonicalize();
    there.is_ok_and(|there| there.is_dir() && there == Path::new(&client.directory))
}

#[cfg(test)]
mod tests;
