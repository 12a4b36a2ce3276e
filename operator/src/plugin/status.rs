//! `kubectl adit status`: every region, and what is wrong with it.

use super::{
    Answer, Failure,
    complaints::{self, Waiting},
    kubectl::{Kubectl, place},
    request::pretty,
    table::columns,
};
use adit_api::Region;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Somebody should know.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// A region, and what there is to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
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
    /// Conditions that are not as they should be, in their own words.
    problems: Vec<String>,
}

/// All of it, for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Overview {
    regions: Vec<Line>,
    /// Those that wait for a person or for relays; nothing for who may not see complaints.
    complaints: Option<Vec<Waiting>>,
}

pub(super) fn status(kubectl: &Kubectl, json: bool) -> Result<Answer, Failure> {
    let regions: Vec<Line> = kubectl.regions()?.iter().map(line).collect();
    let is_problem = regions.iter().any(|line| line.level == Level::Fail);
    // Who may not see complaints sees the rest.
    let complaints = kubectl.complaints().ok();
    if json {
        let complaints = complaints.as_deref().map(complaints::waiting);
        return Ok(Answer { text: pretty(&Overview { regions, complaints }), is_problem });
    }
    let waiting = complaints::warnings(&complaints.unwrap_or_default(), Timestamp::now().as_second());
    Ok(Answer { text: text(&regions, &waiting), is_problem })
}

fn line(region: &Region) -> Line {
    let (namespace, name) = place(region);
    let status = region.status.clone().unwrap_or_default();
    let (level, problems) = judged(region);
    Line {
        level,
        namespace: namespace.to_owned(),
        region: name.to_owned(),
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

/// How a region is, and the conditions that say why.
pub(super) fn judged(region: &Region) -> (Level, Vec<String>) {
    let status = region.status.clone().unwrap_or_default();
    if status.conditions.is_empty() {
        return (Level::Warn, vec!["the operator has not said anything yet: does it run?".to_owned()]);
    }
    let mut level = Level::Ok;
    let mut problems = Vec::new();
    for condition in &status.conditions {
        let says = |status: &str| condition.status == status;
        let seen = match condition.type_.as_str() {
            // Of one's own free will.
            "Ready" if says("False") && condition.reason == "Suspended" => Level::Warn,
            "Ready" if !says("True") => Level::Fail,
            "RegistryReachable" | "StoreReachable" if says("False") => Level::Warn,
            "CertificateServed" if says("False") => Level::Warn,
            "Progressing" if says("True") => Level::Warn,
            _ => continue,
        };
        level = level.max(seen);
        problems.push(format!("{}: {}", condition.type_, condition.message));
    }
    if region.metadata.generation.is_some() && status.observed_generation != region.metadata.generation {
        level = level.max(Level::Warn);
        problems.push("the operator has not seen the newest spec yet: does it run?".to_owned());
    }
    (level, problems)
}

fn text(lines: &[Line], complaints: &[String]) -> String {
    if lines.is_empty() && complaints.is_empty() {
        return "there are no Regions\n".to_owned();
    }
    let row = |line: &Line| {
        vec![
            format!("  {}", line.level.word()),
            format!("{}/{}", line.namespace, line.region),
            line.domain.clone(),
            format!("{} relays", line.relays),
            format!("{} sessions", line.sessions),
            format!("{} tunnels", line.tunnels),
            line.image.clone().unwrap_or_default(),
        ]
    };
    let table = columns(&lines.iter().map(row).collect::<Vec<_>>());
    let mut text = "REGIONS\n".to_owned();
    for (line, shown) in lines.iter().zip(table.lines()) {
        text.push_str(shown);
        text.push('\n');
        for problem in &line.problems {
            text.push_str(&format!("        {problem}\n"));
        }
    }
    if !complaints.is_empty() {
        text.push_str("COMPLAINTS\n");
    }
    for complaint in complaints {
        text.push_str(&format!("  {}  {complaint}\n", Level::Warn.word()));
    }
    let count = |level: Level| lines.iter().filter(|line| line.level == level).count();
    let some = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    text.push_str(&format!(
        "{}, {}\n",
        some(count(Level::Fail), "failure"),
        some(count(Level::Warn) + complaints.len(), "warning")
    ));
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
    fn what_is_not_as_it_should_be_is_said_and_the_worst_counts() {
        let good = json!([condition("Ready", "True", "Serving"), condition("Progressing", "False", "Done")]);
        assert_eq!(judged(&region(good)), (Level::Ok, Vec::new()));
        let both = json!([
            condition("Ready", "False", "NotReady"),
            condition("StoreReachable", "False", "ConnectFailed")
        ]);
        let (level, problems) = judged(&region(both));
        assert_eq!((level, problems.len()), (Level::Fail, 2));
        let asked = json!([condition("Ready", "False", "Suspended")]);
        assert_eq!(judged(&region(asked)).0, Level::Warn);
        assert_eq!(judged(&region(json!([]))).0, Level::Warn);
    }

    #[test]
    fn a_newest_spec_that_nobody_has_seen_is_said() {
        let mut region = region(json!([condition("Ready", "True", "Serving")]));
        region.metadata.generation = Some(3);
        let (level, problems) = judged(&region);
        assert_eq!(level, Level::Warn);
        assert!(problems[0].contains("does it run?"));
    }

    #[test]
    fn people_read_a_line_and_what_is_wrong_below_it() {
        let lines = [line(&region(json!([condition("Ready", "False", "NotReady")])))];
        assert_eq!(
            text(&lines, &[]),
            "REGIONS\n  FAIL  tunnels/eu  eu.example.com  3/3 relays  0 sessions  0 tunnels\n        Ready: because\n1 failure, 0 warnings\n"
        );
        let both = text(&lines, &["2 open".to_owned()]);
        assert!(both.ends_with("COMPLAINTS\n  warn  2 open\n1 failure, 1 warning\n"), "{both}");
        assert_eq!(text(&[], &[]), "there are no Regions\n");
        assert!(text(&[], &["2 open".to_owned()]).contains("COMPLAINTS"));
    }
}
