//! `kubectl adit complaints`: what waits for a decision, and what has become of the others.

use super::{Answer, Failure, kubectl::Kubectl, request::pretty, table::columns};
use adit_api::{
    Complaint,
    complaint::{Against, Phase},
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

/// Complaints: those that wait, the oldest first, then those in force; with `all` also those that are over.
pub(super) fn complaints(kubectl: &Kubectl, all: bool, json: bool) -> Result<Answer, Failure> {
    let mut found = kubectl.complaints()?;
    found.retain(|one| all || !is_over(phase(one)));
    found.sort_by_key(|one| (phase(one) != Phase::Open, filed(one), one.name_any()));
    let text = if json { pretty(&found) } else { text(&found, Timestamp::now().as_second()) };
    Ok(Answer { text, is_problem: false })
}

pub(super) fn phase(complaint: &Complaint) -> Phase {
    complaint.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Open)
}

fn is_over(phase: Phase) -> bool {
    matches!(phase, Phase::Lifted | Phase::Dismissed | Phase::Expired)
}

fn filed(complaint: &Complaint) -> i64 {
    complaint.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

/// What was written by strangers, without what would steer a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

pub(super) fn against(complaint: &Complaint) -> String {
    match &complaint.spec.against {
        Against::Url(text) | Against::Hostname(text) | Against::Account(text) => shown(text),
    }
}

/// What somebody should know of complaints: how many wait for a decision, and which wait for relays.
pub(super) fn warnings(complaints: &[Complaint], now: i64) -> Vec<String> {
    let mut warnings = vec![];
    if complaints.iter().any(|one| phase(one) == Phase::Open) {
        warnings.push(format!("{}; next: kubectl adit complaints", summary(complaints, now).trim_end()));
    }
    for one in complaints.iter().filter(|one| phase(one) == Phase::Enforcing) {
        let conditions = one.status.iter().flat_map(|status| &status.conditions);
        let said = conditions.filter(|one| one.type_ == "Enforced").map(|one| shown(&one.message));
        let (namespace, name) = (one.namespace().unwrap_or_default(), one.name_any());
        warnings.push(format!("{namespace}/{name} {}", said.collect::<String>()));
    }
    warnings
}

/// One line about those that wait.
fn summary(complaints: &[Complaint], now: i64) -> String {
    let open: Vec<_> = complaints.iter().filter(|one| phase(one) == Phase::Open).collect();
    match open.iter().map(|one| filed(one)).min() {
        Some(oldest) => format!("{} open, oldest {}\n", open.len(), age(now - oldest)),
        None => "none is open\n".to_owned(),
    }
}

fn text(complaints: &[Complaint], now: i64) -> String {
    let mut text = summary(complaints, now);
    if complaints.is_empty() {
        return text;
    }
    let head = ["COMPLAINT", "AGE", "PHASE", "AGAINST", "CATEGORY", "ACCOUNT", "RELAYS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(complaints.iter().map(|one| {
        let status = one.status.clone().unwrap_or_default();
        vec![
            format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any()),
            age(now - filed(one)),
            format!("{:?}", phase(one)),
            against(one),
            format!("{:?}", one.spec.category),
            status.account.map_or_else(|| "-".to_owned(), |account| shown(&account)),
            status.relays.summary,
        ]
    }));
    text.push_str(&columns(&rows));
    text
}

/// The largest unit alone.
pub(super) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
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
    fn the_number_that_waits_and_the_age_of_the_oldest_come_first() {
        let all = [
            complaint("old", "2026-11-21T10:00:00Z", "Open"),
            complaint("new", "2026-11-21T12:00:00Z", "Open"),
            complaint("done", "2026-11-20T12:00:00Z", "Enforced"),
        ];
        let now = "2026-11-21T13:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let text = text(&all, now);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("2 open, oldest 3 h"));
        assert!(lines.next().unwrap().starts_with("COMPLAINT"));
        let first: Vec<_> = lines.next().unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            first.iter().map(|cell| cell.trim()).collect::<Vec<_>>(),
            ["tunnels/old", "3 h", "Open", "https://shop.eu.example.com/?[2J", "Phishing", "adit|eve", "2/2"]
        );
        assert_eq!(summary(&all[2..], now), "none is open\n");
        assert_eq!(warnings(&all, now), ["2 open, oldest 3 h; next: kubectl adit complaints"]);
        let mut slow = complaint("slow", "2026-11-21T10:00:00Z", "Enforcing");
        slow.status.as_mut().unwrap().conditions = serde_json::from_value(json!([{"type": "Enforced",
            "status": "False", "reason": "Waiting", "message": "waits for 1 of 2 relays: b of eu",
            "lastTransitionTime": "2026-11-21T10:00:00Z"}]))
        .unwrap();
        assert_eq!(warnings(&[slow], now), ["tunnels/slow waits for 1 of 2 relays: b of eu"]);
    }
}
