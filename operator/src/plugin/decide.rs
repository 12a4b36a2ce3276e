//! `kubectl adit acknowledge`, `dismiss`, `lift`: a person decides about a Complaint.

use super::{
    Answer, Failure, PROBLEM,
    args::{Decide, ScopeName},
    complaints::{against, shown},
    kubectl::{Kubectl, KubectlError},
    request::pretty,
};
use adit_api::{
    Complaint,
    complaint::{DECIDED_BY_ANNOTATION, Decision, REASON_ANNOTATION},
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::{
    io::{BufRead, IsTerminal, Write},
    time::Duration,
};

/// The longest reason.
const MAX_REASON: usize = 4096;
/// How many hostnames are named before the decision.
const NAMED: usize = 10;

/// A decision that can be made: what the person wants, about whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted<'a> {
    decision: Decision,
    reason: &'a str,
    scope: Option<ScopeName>,
    until: Option<Timestamp>,
}

/// What else an acknowledgement may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms<'a> {
    pub(super) scope: Option<ScopeName>,
    pub(super) until: Option<&'a str>,
}

pub(super) fn decide(
    kubectl: &Kubectl,
    decision: Decision,
    line: &Decide,
    terms: Terms<'_>,
    json: bool,
) -> Result<Answer, Failure> {
    let wanted = wanted(decision, line, terms, Timestamp::now())?;
    let complaint = kubectl.complaint(&line.name)?;
    let effect = effect(&complaint, &wanted);
    let by = line.by.clone().unwrap_or_else(|| kubectl.whoami());
    let patch = patch(&complaint, &wanted, &by);
    if line.dry_run {
        kubectl.patch_complaint(&complaint, &patch, true).map_err(|error| refused(&line.name, error))?;
        return Ok(Answer { text: format!("would do: {effect}\n"), is_problem: false });
    }
    if !line.yes && !agreed(&effect) {
        let failure = Failure::usage("unconfirmed", "nothing was done".to_owned(), "add --yes".to_owned());
        return Err(Failure { why: Some(format!("it {effect}")), ..failure });
    }
    kubectl.patch_complaint(&complaint, &patch, false).map_err(|error| refused(&line.name, error))?;
    if decision == Decision::Acknowledged {
        kubectl.wait_enforced(&complaint, &line.timeout);
    }
    let now = kubectl.complaint(&line.name)?;
    let outstanding = (decision == Decision::Acknowledged).then(|| outstanding(&now)).flatten();
    if json {
        return Ok(Answer { text: pretty(&now), is_problem: outstanding.is_some() });
    }
    match outstanding {
        None => Ok(Answer { text: done(&now, &effect), is_problem: false }),
        Some(why) => Err(Failure {
            what: format!("{} is not enforced everywhere after {}", line.name, line.timeout),
            code: "not_enforced",
            why: Some(why),
            next: Some(format!("kubectl wait cpl/{} --for=condition=Enforced", line.name)),
            exit: PROBLEM,
        }),
    }
}

fn wanted<'a>(
    decision: Decision,
    line: &'a Decide,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Wanted<'a>, Failure> {
    let usage = |what: String, next: &str| Failure::usage("usage", what, next.to_owned());
    if line.reason.trim().is_empty() || line.reason.len() > MAX_REASON {
        let what = format!("--reason: has to have 1 to {MAX_REASON} bytes");
        return Err(usage(what, "say why: it stays in the complaint's history"));
    }
    patience(&line.timeout)?;
    let read = |text: &str| {
        let example = "a time like 2027-01-01T00:00:00Z";
        let until: Timestamp =
            text.parse().map_err(|_| usage(format!("--until: {text:?} is no time"), example))?;
        if until <= now { Err(usage(format!("--until: {text} is over"), example)) } else { Ok(until) }
    };
    Ok(Wanted {
        decision,
        reason: &line.reason,
        scope: terms.scope,
        until: terms.until.map(read).transpose()?,
    })
}

/// How long a person is ready to wait.
pub(super) fn patience(timeout: &str) -> Result<Duration, Failure> {
    let (count, unit) = timeout.split_at(timeout.trim_end_matches(['s', 'm']).len());
    match (count.parse::<u16>(), unit) {
        (Ok(count), "s") => Ok(Duration::from_secs(count.into())),
        (Ok(count), "m") => Ok(Duration::from_secs(u64::from(count) * 60)),
        _ => {
            let what = format!("--timeout: {timeout:?} is no duration");
            Err(Failure::usage("usage", what, "for example 30s or 5m".to_owned()))
        }
    }
}

/// What a decision does, for whoever is about to make it.
fn effect(complaint: &Complaint, wanted: &Wanted<'_>) -> String {
    let (name, status) = (complaint.name_any(), complaint.status.clone().unwrap_or_default());
    let address = against(complaint);
    let until = wanted.until.map_or(String::new(), |until| format!(" until {until}"));
    let scope = wanted.scope.map_or(complaint.spec.scope, ScopeName::scope);
    match (wanted.decision, scope, status.account.as_deref().map(shown)) {
        (Decision::Acknowledged, adit_api::complaint::Scope::Account, Some(account)) => {
            let mut names: Vec<String> =
                status.hostnames.iter().take(NAMED).map(|name| shown(name)).collect();
            if status.hostnames.len() > NAMED {
                names.push(format!("{} more", status.hostnames.len() - NAMED));
            }
            let what = if names.is_empty() { "which has no names".to_owned() } else { names.join(", ") };
            format!("acknowledges {name}: takes account {account} offline in every region{until}: {what}")
        }
        (Decision::Acknowledged, ..) => format!("acknowledges {name}: takes {address} offline{until}"),
        (Decision::Dismissed, _, account) => {
            format!("dismisses {name}: {} is not offline because of it", account.unwrap_or(address))
        }
        (Decision::Lifted, _, account) => {
            format!("lifts {name}: {} may come back", account.unwrap_or(address))
        }
        (Decision::Pending, ..) => format!("leaves {name} open"),
    }
}

/// The change, on condition that nobody else has changed the object since it was read.
fn patch(complaint: &Complaint, wanted: &Wanted<'_>, by: &str) -> Value {
    let mut spec = json!({ "decision": wanted.decision });
    if let Some(scope) = wanted.scope {
        spec["scope"] = json!(scope.scope());
    }
    if let Some(until) = wanted.until {
        spec["until"] = json!(until.to_string());
    }
    json!({
        "metadata": {
            "resourceVersion": complaint.metadata.resource_version,
            "annotations": { DECIDED_BY_ANNOTATION: by, REASON_ANNOTATION: wanted.reason },
        },
        "spec": spec,
    })
}

fn refused(name: &str, error: KubectlError) -> Failure {
    let said = error.said().unwrap_or_default();
    if said.contains("Conflict") || said.contains("has been modified") {
        let what = format!("somebody has changed {name} meanwhile; nothing was done");
        let next = format!("kubectl get cpl {name} -o yaml, then decide again");
        return Failure::usage("changed_meanwhile", what, next);
    }
    if said.contains("is invalid") {
        let next = format!("kubectl get cpl {name} -o yaml");
        return Failure {
            why: Some(said),
            ..Failure::usage("refused", format!("{name} cannot be so"), next)
        };
    }
    error.into()
}

/// What the condition `Enforced` says if it is not so.
fn outstanding(complaint: &Complaint) -> Option<String> {
    let status = complaint.status.clone().unwrap_or_default();
    let condition = status.conditions.into_iter().find(|one| one.type_ == "Enforced");
    match condition {
        Some(one) if one.observed_generation != complaint.metadata.generation => {
            Some("the operator has not seen it yet: does it run?".to_owned())
        }
        Some(one) if one.status == "True" => None,
        Some(one) => Some(one.message),
        None => Some("the operator has not said anything yet: does it run?".to_owned()),
    }
}

fn done(complaint: &Complaint, effect: &str) -> String {
    let status = complaint.status.clone().unwrap_or_default();
    match (complaint.spec.decision, &status.acknowledged_at, &status.enforced_at) {
        (Decision::Acknowledged, Some(began), Some(ended)) => format!(
            "{effect}\noffline on {} relays after {} s; {} sessions were closed\n",
            status.relays.summary,
            (ended.0.as_second() - began.0.as_second()).max(0),
            status.sessions_closed
        ),
        _ => format!("{effect}\n"),
    }
}

/// Asks whoever sits at the terminal; nobody is asked elsewhere.
fn agreed(effect: &str) -> bool {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return false;
    }
    let mut answer = String::new();
    let asked = write!(stderr, "It {effect}.\nDo it? [y/N] ").and_then(|()| stderr.flush());
    asked.is_ok() && stdin.lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint() -> Complaint {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint",
            "metadata": {"name": "cpl-1", "namespace": "tunnels", "resourceVersion": "7", "generation": 2},
            "spec": {"against": {"url": "https://shop.eu.example.com/"}, "category": "Phishing"},
            "status": {"account": "adit|eve", "hostnames": ["shop.eu.example.com"], "conditions": [
                {"type": "Enforced", "status": "False", "reason": "Waiting", "observedGeneration": 2,
                 "message": "waits for 1 of 2 relays: b of eu", "lastTransitionTime": "2027-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    fn line(reason: &str) -> Decide {
        Decide {
            name: "cpl-1".to_owned(),
            reason: reason.to_owned(),
            by: None,
            yes: true,
            dry_run: false,
            timeout: "30s".to_owned(),
        }
    }

    #[test]
    fn a_decision_has_a_reason_and_an_end_that_is_to_come() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let said = |reason: &str, until: Option<&str>| {
            let (line, terms) = (line(reason), Terms { scope: None, until });
            wanted(Decision::Acknowledged, &line, terms, now)
                .map(|wanted| wanted.until)
                .map_err(|failure| failure.what)
        };
        assert_eq!(said(" ", None).unwrap_err(), "--reason: has to have 1 to 4096 bytes");
        assert!(said("x", Some("tomorrow")).unwrap_err().contains("is no time"));
        assert!(said("x", Some("2020-01-01T00:00:00Z")).unwrap_err().contains("is over"));
        let end = "2027-01-01T00:00:00Z";
        assert_eq!(said("x", Some(end)).unwrap(), Some(end.parse().unwrap()));
    }

    #[test]
    fn a_timeout_has_a_unit() {
        for bad in ["", "30", "s", "-1s", "30é"] {
            let line = Decide { timeout: bad.to_owned(), ..line("x") };
            let said = wanted(Decision::Lifted, &line, Terms::default(), Timestamp::now()).unwrap_err();
            assert!(said.what.starts_with("--timeout"), "{bad}");
        }
    }

    #[test]
    fn what_it_does_is_said_before_and_changed_only_if_nobody_was_faster() {
        let wide = Wanted { decision: Decision::Acknowledged, reason: "a copy", scope: None, until: None };
        assert_eq!(
            effect(&complaint(), &wide),
            "acknowledges cpl-1: takes account adit|eve offline in every region: shop.eu.example.com"
        );
        let narrow = Wanted { scope: Some(ScopeName::Hostname), ..wide.clone() };
        assert_eq!(
            effect(&complaint(), &narrow),
            "acknowledges cpl-1: takes https://shop.eu.example.com/ offline"
        );
        assert_eq!(
            patch(&complaint(), &narrow, "ana"),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {"adit.dev/decided-by": "ana", "adit.dev/reason": "a copy"}},
                "spec": {"decision": "Acknowledged", "scope": "Hostname"},
            })
        );
    }

    #[test]
    fn who_has_not_confirmed_is_named() {
        let mut complaint = complaint();
        assert_eq!(outstanding(&complaint).as_deref(), Some("waits for 1 of 2 relays: b of eu"));
        complaint.metadata.generation = Some(3);
        assert!(outstanding(&complaint).unwrap().contains("has not seen it yet"));
        complaint.metadata.generation = Some(2);
        complaint.status.as_mut().unwrap().conditions[0].status = "True".to_owned();
        assert_eq!(outstanding(&complaint), None);
    }
}
