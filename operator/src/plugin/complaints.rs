//! `kubectl adit complaints`: complaints that wait for a decision, and the state of the others.

use super::{
    cluster::{Cluster, id_of},
    command_error::CommandError,
    level::Level,
    output::{Output, to_json},
};
use crate::controller::find_condition;
use adit_api::{
    Complaint,
    complaint::{Against, Phase, Scope},
};
use adit_terminal::{Table, age};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use serde::Serialize;

/// Shows complaints: those that wait, the oldest first, then those in force; with `all` also those that are over.
pub(super) async fn complaints(cluster: &Cluster, all: bool, json: bool) -> Result<Output, CommandError> {
    let mut found: Vec<Complaint> = cluster.list().await?;
    found.retain(|one| all || !is_over(phase(one)));
    found.sort_by_key(|one| (phase(one) != Phase::Open, filed_at(one), one.name_any()));
    Ok(Output::new(if json { to_json(&found) } else { text(&found, Timestamp::now().as_second()) }))
}

/// The phase of a complaint.
pub(super) fn phase(complaint: &Complaint) -> Phase {
    complaint.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Open)
}

fn is_over(phase: Phase) -> bool {
    matches!(phase, Phase::Lifted | Phase::Dismissed | Phase::Expired)
}

/// When a complaint was filed, in seconds since 1970.
fn filed_at(complaint: &Complaint) -> i64 {
    complaint.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

/// The target of a complaint, as it was written.
pub(super) fn target(complaint: &Complaint) -> &str {
    match &complaint.spec.against {
        Against::Url(text) | Against::Hostname(text) | Against::Account(text) => text,
    }
}

/// Warnings about complaints: how many wait for a decision, and which wait for relays.
pub(super) fn warnings(complaints: &[Complaint], now: i64) -> Vec<String> {
    let mut warnings = vec![];
    if complaints.iter().any(|one| phase(one) == Phase::Open) {
        warnings.push(format!("{}; next: kubectl adit complaints", summary(complaints, now)));
    }
    for one in complaints.iter().filter(|one| phase(one) == Phase::Enforcing) {
        warnings.push(format!("{}: {}", id_of(one), enforced_message(one)));
    }
    warnings
}

/// A complaint that waits for a person or for relays, for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutstandingComplaint {
    level: Level,
    namespace: String,
    complaint: String,
    phase: Phase,
    against: String,
    account: Option<String>,
    relays: String,
    filed: Option<Time>,
    /// What it waits for.
    message: String,
}

/// The complaints that wait for a person or for relays, the oldest first.
pub(super) fn outstanding_complaints(complaints: &[Complaint]) -> Vec<OutstandingComplaint> {
    let mut outstanding: Vec<&Complaint> =
        complaints.iter().filter(|one| matches!(phase(one), Phase::Open | Phase::Enforcing)).collect();
    outstanding.sort_by_key(|one| (filed_at(one), one.name_any()));
    let report = |one: &&Complaint| {
        let status = one.status.clone().unwrap_or_default();
        let message = match phase(one) {
            Phase::Open => "waits for a decision".to_owned(),
            _ => enforced_message(one).to_owned(),
        };
        OutstandingComplaint {
            level: Level::Warn,
            namespace: one.namespace().unwrap_or_default(),
            complaint: one.name_any(),
            phase: phase(one),
            against: target(one).to_owned(),
            account: status.account,
            relays: status.relays.summary,
            filed: one.metadata.creation_timestamp.clone(),
            message,
        }
    };
    outstanding.iter().map(report).collect()
}

/// The message of the condition `Enforced`: it names the relays that have not confirmed the decision.
fn enforced_message(complaint: &Complaint) -> &str {
    let conditions = complaint.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find_condition(conditions, "Enforced").map_or("", |one| &one.message)
}

/// Whether a complaint concerns a host, or the account that publishes it (issuer, `|`, subject).
pub(super) fn concerns(complaint: &Complaint, host: &str, account: Option<&str>) -> bool {
    let names = match &complaint.spec.against {
        Against::Url(url) => host_of(url).as_deref() == Some(host),
        Against::Hostname(name) => name.trim_end_matches('.').eq_ignore_ascii_case(host),
        Against::Account(named) => account == Some(named),
    };
    let status = complaint.status.as_ref();
    let has = status.is_some_and(|status| {
        status.hostnames.iter().any(|one| one == host)
            || account.is_some_and(|account| status.account.as_deref() == Some(account))
    });
    names || (complaint.spec.scope == Scope::Account && has)
}

fn host_of(url: &str) -> Option<String> {
    Some(url.parse::<http::Uri>().ok()?.host()?.trim_end_matches('.').to_ascii_lowercase())
}

/// Whether a complaint keeps its target offline.
pub(super) fn is_in_force(complaint: &Complaint) -> bool {
    matches!(phase(complaint), Phase::Enforcing | Phase::Enforced)
}

/// How many complaints wait for a decision, and how long the oldest has waited.
fn summary(complaints: &[Complaint], now: i64) -> String {
    let open: Vec<_> = complaints.iter().filter(|one| phase(one) == Phase::Open).collect();
    match open.iter().map(|one| filed_at(one)).min() {
        Some(oldest) => format!("{} open, oldest {}", open.len(), age(age_seconds(oldest, now))),
        None => "none is open".to_owned(),
    }
}

fn age_seconds(since: i64, now: i64) -> u64 {
    u64::try_from(now - since).unwrap_or(0)
}

fn text(complaints: &[Complaint], now: i64) -> String {
    let summary = summary(complaints, now);
    if complaints.is_empty() {
        return format!("{summary}\n");
    }
    let mut table = Table::new(["COMPLAINT", "AGE", "PHASE", "AGAINST", "CATEGORY", "ACCOUNT", "RELAYS"]);
    for one in complaints {
        let status = one.status.clone().unwrap_or_default();
        table.push([
            id_of(one).to_string(),
            age(age_seconds(filed_at(one), now)),
            format!("{:?}", phase(one)),
            target(one).to_owned(),
            format!("{:?}", one.spec.category),
            status.account.unwrap_or_else(|| "-".to_owned()),
            status.relays.summary,
        ]);
    }
    format!("{summary}\n{table}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaint(name: &str, filed: &str, phase: &str) -> Complaint {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint",
            "metadata": {"name": name, "namespace": "tunnels", "creationTimestamp": filed},
            "spec": {"against": {"url": "https://shop.eu.example.com/\u{1b}[2J"}, "category": "Phishing"},
            "status": {"phase": phase, "account": "adit|eve", "relays": {"summary": "2/2"}},
        }))
        .unwrap()
    }

    #[test]
    fn the_number_of_open_complaints_comes_first() {
        let all = [
            complaint("old", "2026-11-21T10:00:00Z", "Open"),
            complaint("new", "2026-11-21T12:00:00Z", "Open"),
            complaint("done", "2026-11-20T12:00:00Z", "Enforced"),
        ];
        let now = "2026-11-21T13:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let text = text(&all, now);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("2 open, oldest 3h"));
        assert!(lines.next().unwrap().starts_with("COMPLAINT"));
        let first: Vec<_> = lines.next().unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            first.iter().map(|cell| cell.trim()).collect::<Vec<_>>(),
            [
                "tunnels/old",
                "3h",
                "Open",
                "https://shop.eu.example.com/\\u{1b}[2J",
                "Phishing",
                "adit|eve",
                "2/2"
            ]
        );
        assert_eq!(summary(&all[2..], now), "none is open");
        assert_eq!(warnings(&all, now), ["2 open, oldest 3h; next: kubectl adit complaints"]);
        let mut slow = complaint("slow", "2026-11-21T10:00:00Z", "Enforcing");
        slow.status.as_mut().unwrap().conditions = serde_json::from_value(json!([{"type": "Enforced",
            "status": "False", "reason": "Waiting", "message": "1 of 2 relays have not confirmed it: b of eu",
            "lastTransitionTime": "2026-11-21T10:00:00Z"}]))
        .unwrap();
        assert_eq!(
            warnings(&[slow.clone()], now),
            ["tunnels/slow: 1 of 2 relays have not confirmed it: b of eu"]
        );

        let [_, new, done] = all;
        let waiting = serde_json::to_value(outstanding_complaints(&[new, done, slow])).unwrap();
        let names: Vec<_> = waiting.as_array().unwrap().iter().map(|one| &one["complaint"]).collect();
        assert_eq!(names, ["slow", "new"], "the oldest first");
        assert_eq!(waiting[0]["message"], "1 of 2 relays have not confirmed it: b of eu");
        assert_eq!(
            (&waiting[1]["phase"], &waiting[1]["filed"]),
            (&json!("Open"), &json!("2026-11-21T12:00:00Z"))
        );
        assert_eq!(waiting[1]["against"], "https://shop.eu.example.com/\u{1b}[2J", "JSON is not escaped");
    }

    #[test]
    fn a_complaint_concerns_its_host_and_its_account() {
        let concerns = |one: &Complaint, host, account| super::concerns(one, host, account);
        let mut one = complaint("one", "2026-11-21T10:00:00Z", "Enforced");
        one.spec.against = Against::Url("https://Shop.eu.example.com:8443/x".to_owned());
        one.status.as_mut().unwrap().hostnames = vec!["blog.us.example.com".to_owned()];
        assert!(concerns(&one, "shop.eu.example.com", None));
        assert!(concerns(&one, "blog.us.example.com", None), "a host of the account at the decision");
        assert!(concerns(&one, "late.eu.example.com", Some("adit|eve")));
        assert!(!concerns(&one, "late.eu.example.com", Some("adit|bob")));
        assert!(!concerns(&one, "eu.example.com", None));
        one.spec.scope = Scope::Hostname;
        assert!(concerns(&one, "shop.eu.example.com", Some("adit|bob")), "whichever account has the name");
        assert!(!concerns(&one, "blog.us.example.com", Some("adit|eve")), "the account's other names");
        one.spec.scope = Scope::Account;
        one.spec.against = Against::Account("adit|eve".to_owned());
        assert!(concerns(&one, "late.eu.example.com", Some("adit|eve")));
        for (phase, in_force) in [("Open", false), ("Enforcing", true), ("Enforced", true), ("Lifted", false)]
        {
            assert_eq!(is_in_force(&complaint("one", "2026-11-21T10:00:00Z", phase)), in_force, "{phase}");
        }
    }
}
