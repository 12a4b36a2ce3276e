//! `kubectl adit complaints`: what waits for a decision, and what has become of the others.

use super::{Answer, Failure, kubectl::Kubectl, request::pretty, status::Level, table::columns};
use adit_api::{
    Complaint,
    complaint::{Against, Phase, Scope},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use serde::Serialize;

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

fn subject(complaint: &Complaint) -> &str {
    match &complaint.spec.against {
        Against::Url(text) | Against::Hostname(text) | Against::Account(text) => text,
    }
}

pub(super) fn against(complaint: &Complaint) -> String {
    shown(subject(complaint))
}

/// Its namespace and name.
pub(super) fn place(complaint: &Complaint) -> String {
    format!("{}/{}", complaint.namespace().unwrap_or_default(), complaint.name_any())
}

/// What somebody should know of complaints: how many wait for a decision, and which wait for relays.
pub(super) fn warnings(complaints: &[Complaint], now: i64) -> Vec<String> {
    let mut warnings = vec![];
    if complaints.iter().any(|one| phase(one) == Phase::Open) {
        warnings.push(format!("{}; next: kubectl adit complaints", summary(complaints, now).trim_end()));
    }
    for one in complaints.iter().filter(|one| phase(one) == Phase::Enforcing) {
        warnings.push(format!("{} {}", place(one), shown(&unconfirmed(one))));
    }
    warnings
}

/// A complaint that waits for a person or for relays, for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waiting {
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

/// All that wait, the oldest first.
pub(super) fn waiting(complaints: &[Complaint]) -> Vec<Waiting> {
    let mut all: Vec<&Complaint> =
        complaints.iter().filter(|one| matches!(phase(one), Phase::Open | Phase::Enforcing)).collect();
    all.sort_by_key(|one| (filed(one), one.name_any()));
    let of = |one: &&Complaint| {
        let status = one.status.clone().unwrap_or_default();
        let message = match phase(one) {
            Phase::Open => "waits for a decision".to_owned(),
            _ => unconfirmed(one),
        };
        Waiting {
            level: Level::Warn,
            namespace: one.namespace().unwrap_or_default(),
            complaint: one.name_any(),
            phase: phase(one),
            against: subject(one).to_owned(),
            account: status.account,
            relays: status.relays.summary,
            filed: one.metadata.creation_timestamp.clone(),
            message,
        }
    };
    all.iter().map(of).collect()
}

/// What the operator says of the relays that have not confirmed.
fn unconfirmed(complaint: &Complaint) -> String {
    let conditions = complaint.status.iter().flat_map(|status| &status.conditions);
    conditions.filter(|one| one.type_ == "Enforced").map(|one| one.message.as_str()).collect()
}

/// Whether a complaint is about a host, or about the account that publishes it (issuer, |, subject) with all that it has.
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

/// Whether it keeps somebody offline now.
pub(super) fn is_in_force(complaint: &Complaint) -> bool {
    matches!(phase(complaint), Phase::Enforcing | Phase::Enforced)
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
            place(one),
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
        assert_eq!(warnings(&[slow.clone()], now), ["tunnels/slow waits for 1 of 2 relays: b of eu"]);

        let [_, new, done] = all;
        let waiting = serde_json::to_value(waiting(&[new, done, slow])).unwrap();
        let names: Vec<_> = waiting.as_array().unwrap().iter().map(|one| &one["complaint"]).collect();
        assert_eq!(names, ["slow", "new"], "the oldest first, and none that waits for nothing");
        assert_eq!(waiting[0]["message"], "waits for 1 of 2 relays: b of eu");
        assert_eq!(
            (&waiting[1]["phase"], &waiting[1]["filed"]),
            (&json!("Open"), &json!("2026-11-21T12:00:00Z"))
        );
        assert_eq!(
            waiting[1]["against"], "https://shop.eu.example.com/\u{1b}[2J",
            "programs get it as it is"
        );
    }

    #[test]
    fn a_complaint_is_about_its_host_and_about_all_that_its_account_has() {
        let concerns = |one: &Complaint, host, account| super::concerns(one, host, account);
        let mut one = complaint("one", "2026-11-21T10:00:00Z", "Enforced");
        one.spec.against = Against::Url("https://Shop.eu.example.com:8443/x".to_owned());
        one.status.as_mut().unwrap().hostnames = vec!["blog.us.example.com".to_owned()];
        assert!(concerns(&one, "shop.eu.example.com", None));
        assert!(concerns(&one, "blog.us.example.com", None), "what the account had when it was decided");
        assert!(concerns(&one, "late.eu.example.com", Some("adit|eve")));
        assert!(!concerns(&one, "late.eu.example.com", Some("adit|bob")));
        assert!(!concerns(&one, "eu.example.com", None));
        one.spec.scope = Scope::Hostname;
        assert!(concerns(&one, "shop.eu.example.com", Some("adit|bob")), "whoever has the name");
        assert!(!concerns(&one, "blog.us.example.com", Some("adit|eve")), "the other names stay");
        one.spec.scope = Scope::Account;
        one.spec.against = Against::Account("adit|eve".to_owned());
        assert!(concerns(&one, "late.eu.example.com", Some("adit|eve")));
        for (phase, in_force) in [("Open", false), ("Enforcing", true), ("Enforced", true), ("Lifted", false)]
        {
            assert_eq!(is_in_force(&complaint("one", "2026-11-21T10:00:00Z", phase)), in_force, "{phase}");
        }
    }
}
