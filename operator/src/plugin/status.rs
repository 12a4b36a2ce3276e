//! `kubectl adit status`: every region and its problems.

use super::{
    cluster::{Cluster, id_of},
    command_error::CommandError,
    complaints::{self, OutstandingComplaint},
    level::Level,
    output::{Output, to_json},
};
use adit_api::Region;
use adit_terminal::{Table, escape};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

/// A region and its problems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionReport {
    level: Level,
    namespace: String,
    region: String,
    domain: String,
    relays: String,
    sessions: i64,
    tunnels: i64,
    image: Option<String>,
    address: Option<String>,
    not_after: Option<String>,
    /// Conditions that show a problem, with their messages.
    problems: Vec<String>,
}

/// The whole output, for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct StatusReport {
    regions: Vec<RegionReport>,
    /// Complaints that wait for a person or for relays; `null` if the person may not read Complaints.
    complaints: Option<Vec<OutstandingComplaint>>,
}

/// Shows every region, and the complaints that wait for something.
pub(super) async fn status(cluster: &Cluster, json: bool) -> Result<Output, CommandError> {
    let regions: Vec<RegionReport> = cluster.list::<Region>().await?.iter().map(region_report).collect();
    let is_problem = regions.iter().any(|region| region.level == Level::Fail);
    // A person who may not read Complaints sees the regions all the same.
    let complaints = cluster.list().await.ok();
    if json {
        let complaints = complaints.as_deref().map(complaints::outstanding_complaints);
        return Ok(Output { text: to_json(&StatusReport { regions, complaints }), is_problem });
    }
    let warnings = complaints::warnings(&complaints.unwrap_or_default(), Timestamp::now().as_second());
    Ok(Output { text: text(&regions, &warnings), is_problem })
}

fn region_report(region: &Region) -> RegionReport {
    let id = id_of(region);
    let status = region.status.clone().unwrap_or_default();
    let (level, problems) = assess(region);
    RegionReport {
        level,
        namespace: id.namespace,
        region: id.name,
        domain: region.spec.domain.clone(),
        relays: status.relays.summary,
        sessions: status.sessions.unwrap_or(0),
        tunnels: status.tunnels.unwrap_or(0),
        image: status.image,
        address: status.address,
        not_after: status.not_after,
        problems,
    }
}

/// The level of a region, and the conditions that are the reason.
pub(super) fn assess(region: &Region) -> (Level, Vec<String>) {
    let status = region.status.clone().unwrap_or_default();
    if status.conditions.is_empty() {
        return (Level::Warn, vec!["the operator has not written a status yet: is it running?".to_owned()]);
    }
    let mut level = Level::Ok;
    let mut problems = Vec::new();
    for condition in &status.conditions {
        let is = |status: &str| condition.status == status;
        let condition_level = match condition.type_.as_str() {
            // A person wants it so.
            "Ready" if is("False") && condition.reason == "Suspended" => Level::Warn,
            "Ready" if !is("True") => Level::Fail,
            "RegistryReachable" | "StoreReachable" | "CertificateServed" if is("False") => Level::Warn,
            "Progressing" if is("True") => Level::Warn,
            _ => continue,
        };
        level = level.max(condition_level);
        problems.push(format!("{}: {}", condition.type_, condition.message));
    }
    if region.metadata.generation.is_some() && status.observed_generation != region.metadata.generation {
        level = level.max(Level::Warn);
        problems.push("the operator has not seen the newest spec yet: is it running?".to_owned());
    }
    (level, problems)
}

fn text(regions: &[RegionReport], warnings: &[String]) -> String {
    if regions.is_empty() && warnings.is_empty() {
        return "there are no Regions\n".to_owned();
    }
    let mut table = Table::without_headings();
    for region in regions {
        table.push([
            region.level.as_str().to_owned(),
            format!("{}/{}", region.namespace, region.region),
            region.domain.clone(),
            format!("{} relays", region.relays),
            format!("{} sessions", region.sessions),
            format!("{} tunnels", region.tunnels),
            region.image.clone().unwrap_or_default(),
        ]);
    }
    let mut text = "REGIONS\n".to_owned();
    for (region, line) in regions.iter().zip(table.lines()) {
        text.push_str(&format!("  {line}\n"));
        for problem in &region.problems {
            text.push_str(&format!("        {}\n", escape(problem)));
        }
    }
    if !warnings.is_empty() {
        text.push_str("COMPLAINTS\n");
    }
    for warning in warnings {
        text.push_str(&format!("  {}  {}\n", Level::Warn.as_str(), escape(warning)));
    }
    let count = |level: Level| regions.iter().filter(|region| region.level == level).count();
    let noun = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let warnings = noun(count(Level::Warn) + warnings.len(), "warning");
    text.push_str(&format!("{}, {warnings}\n", noun(count(Level::Fail), "failure")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn region(conditions: Value) -> Region {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Region",
            "metadata": {"name": "eu", "namespace": "tunnels", "generation": 2},
            "spec": {"domain": "eu.example.com", "store": {"relaySecretRef": {"name": "s", "key": "url"}}},
            "status": {"observedGeneration": 2, "conditions": conditions, "relays": {"summary": "3/3"}},
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "because", "lastTransitionTime": "2027-01-01T00:00:00Z"})
    }

    #[test]
    fn the_worst_condition_decides_the_level() {
        let good = json!([condition("Ready", "True", "Serving"), condition("Progressing", "False", "Done")]);
        assert_eq!(assess(&region(good)), (Level::Ok, Vec::new()));
        let both = json!([
            condition("Ready", "False", "NotReady"),
            condition("StoreReachable", "False", "ConnectFailed")
        ]);
        let (level, problems) = assess(&region(both));
        assert_eq!((level, problems.len()), (Level::Fail, 2));
        let asked = json!([condition("Ready", "False", "Suspended")]);
        assert_eq!(assess(&region(asked)).0, Level::Warn);
        assert_eq!(assess(&region(json!([]))).0, Level::Warn);
    }

    #[test]
    fn a_spec_that_the_operator_has_not_seen_is_a_warning() {
        let mut region = region(json!([condition("Ready", "True", "Serving")]));
        region.metadata.generation = Some(3);
        let (level, problems) = assess(&region);
        assert_eq!(level, Level::Warn);
        assert!(problems[0].contains("is it running?"));
    }

    #[test]
    fn problems_stand_below_their_region() {
        let reports = [region_report(&region(json!([condition("Ready", "False", "NotReady")])))];
        assert_eq!(
            text(&reports, &[]),
            "REGIONS\n  FAIL  tunnels/eu  eu.example.com  3/3 relays  0 sessions  0 tunnels\n        Ready: because\n1 failure, 0 warnings\n"
        );
        let both = text(&reports, &["2 open".to_owned()]);
        assert!(both.ends_with("COMPLAINTS\n  warn  2 open\n1 failure, 1 warning\n"), "{both}");
        assert_eq!(text(&[], &[]), "there are no Regions\n");
        assert!(text(&[], &["2 open".to_owned()]).contains("COMPLAINTS"));
    }
}
