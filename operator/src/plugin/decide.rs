//! `kubectl adit acknowledge`, `dismiss`, `lift`: a person decides about a Complaint.

use super::{
    cluster::Cluster,
    command_error::{CommandError, PROBLEM_EXIT_CODE},
    command_line::DecisionOptions,
    complaints::target,
    output::{Output, to_json},
    wait::{parse_timeout, wait_until},
};
use crate::{api_server::CallError, controller::find_condition};
use adit_api::{
    Complaint,
    complaint::{DECIDED_BY_ANNOTATION, Decision, REASON_ANNOTATION, Scope},
};
use adit_terminal::escape;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::{
    io::{BufRead, IsTerminal, Write},
    time::Duration,
};

/// Maximum length of a reason in bytes.
const MAX_REASON_BYTES: usize = 4096;
/// Maximum host names that are shown before a decision.
const MAX_SHOWN_NAMES: usize = 10;

/// A valid decision.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DecisionRequest<'a> {
    decision: Decision,
    reason: &'a str,
    scope: Option<Scope>,
    until: Option<Timestamp>,
    timeout: Duration,
}

/// Options of an acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AcknowledgeOptions<'a> {
    /// What is taken offline; `None` for the Complaint's scope.
    pub(super) scope: Option<Scope>,
    /// When the suspension ends (RFC 3339); `None` for the Complaint's end.
    pub(super) until: Option<&'a str>,
}

/// Makes a decision. After an acknowledgement it waits until all relays have confirmed it.
pub(super) async fn decide(
    cluster: &Cluster,
    decision: Decision,
    options: &DecisionOptions,
    acknowledge: AcknowledgeOptions<'_>,
    json: bool,
) -> Result<Output, CommandError> {
    let request = request(decision, options, acknowledge, Timestamp::now())?;
    let name = options.name.as_str();
    let complaint: Complaint = cluster.get(name).await?;
    let effect = effect(&complaint, &request);
    let by = match &options.by {
        Some(by) => by.clone(),
        None => cluster.user_name().await,
    };
    let patch = patch(&complaint, &request, &by);
    let verb = verb(decision);
    if options.dry_run {
        cluster.merge_patch::<Complaint>(name, &patch, true).await.map_err(|error| refused(name, error))?;
        return Ok(Output::new(format!("would {verb} {effect}\n")));
    }
    if !options.yes && !is_confirmed(verb, &effect) {
        let error = CommandError::usage("unconfirmed", "nothing was changed", "add --yes");
        return Err(CommandError { why: Some(format!("it would {verb} {effect}")), ..error });
    }
    let patched = cluster.merge_patch(name, &patch, false).await.map_err(|error| refused(name, error))?;
    if decision != Decision::Acknowledged {
        return Ok(Output::new(if json {
            to_json(&patched)
        } else {
            format!("{}\n", done(&patched, &effect))
        }));
    }
    let read = async || cluster.get::<Complaint>(name).await;
    let now = wait_until(request.timeout, read, |now| outstanding(now).is_none()).await?;
    let outstanding = outstanding(&now);
    if json {
        return Ok(Output { text: to_json(&now), is_problem: outstanding.is_some() });
    }
    match outstanding {
        None => Ok(Output::new(format!("{}\n{}", done(&now, &effect), enforcement(&now)))),
        Some(why) => Err(CommandError {
            what: format!("{name} is not enforced everywhere after {}", options.timeout),
            code: "not_enforced",
            why: Some(why),
            next: Some(format!(
                "kubectl wait cpl/{name} -n {} --for=condition=Enforced",
                cluster.namespace()
            )),
            exit_code: PROBLEM_EXIT_CODE,
        }),
    }
}

fn request<'a>(
    decision: Decision,
    options: &'a DecisionOptions,
    acknowledge: AcknowledgeOptions<'_>,
    now: Timestamp,
) -> Result<DecisionRequest<'a>, CommandError> {
    let usage = |what: String, next: &str| CommandError::usage("usage", what, next);
    if options.reason.trim().is_empty() || options.reason.len() > MAX_REASON_BYTES {
        let what = format!("--reason: needs 1 to {MAX_REASON_BYTES} bytes");
        return Err(usage(what, "give a reason: it stays in the complaint's history"));
    }
    let parse_until = |text: &str| {
        let next = "give a time like 2027-01-01T00:00:00Z";
        let until: Timestamp =
            text.parse().map_err(|_| usage(format!("--until: {text:?} is not a time"), next))?;
        if until <= now { Err(usage(format!("--until: {text} is in the past"), next)) } else { Ok(until) }
    };
    Ok(DecisionRequest {
        decision,
        reason: &options.reason,
        scope: acknowledge.scope,
        until: acknowledge.until.map(parse_until).transpose()?,
        timeout: parse_timeout(&options.timeout)?,
    })
}

/// The verb of a decision.
fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Acknowledged => "acknowledge",
        Decision::Dismissed => "dismiss",
        Decision::Lifted => "lift",
        Decision::Pending => "leave open",
    }
}

/// The Complaint's name and what a decision about it changes.
fn effect(complaint: &Complaint, request: &DecisionRequest<'_>) -> String {
    let (name, status) = (complaint.name_any(), complaint.status.clone().unwrap_or_default());
    let target = escape(target(complaint)).into_owned();
    let until = request.until.map_or(String::new(), |until| format!(" until {until}"));
    let account = status.account.as_deref().map(|account| format!("account {}", escape(account)));
    match (request.decision, request.scope.unwrap_or(complaint.spec.scope), account) {
        (Decision::Acknowledged, Scope::Account, Some(account)) => {
            let names = shown_names(&status.hostnames);
            format!("{name}: {account} goes offline in every region{until}: {names}")
        }
        (Decision::Acknowledged, ..) => format!("{name}: {target} goes offline{until}"),
        (Decision::Dismissed, _, account) => {
            format!("{name}: it keeps {} offline no longer", account.unwrap_or(target))
        }
        (Decision::Lifted, _, account) => format!("{name}: {} may come back", account.unwrap_or(target)),
        (Decision::Pending, ..) => name,
    }
}

fn shown_names(hostnames: &[String]) -> String {
    let mut names: Vec<String> =
        hostnames.iter().take(MAX_SHOWN_NAMES).map(|name| escape(name).into_owned()).collect();
    if hostnames.len() > MAX_SHOWN_NAMES {
        names.push(format!("{} more", hostnames.len() - MAX_SHOWN_NAMES));
    }
    if names.is_empty() { "it has no names".to_owned() } else { names.join(", ") }
}

/// The change, on condition that nobody has changed the object since it was read.
fn patch(complaint: &Complaint, request: &DecisionRequest<'_>, by: &str) -> Value {
    let mut spec = json!({ "decision": request.decision });
    if let Some(scope) = request.scope {
        spec["scope"] = json!(scope);
    }
    if let Some(until) = request.until {
        spec["until"] = json!(until.to_string());
    }
    json!({
        "metadata": {
            "resourceVersion": complaint.metadata.resource_version,
            "annotations": { DECIDED_BY_ANNOTATION: by, REASON_ANNOTATION: request.reason },
        },
        "spec": spec,
    })
}

/// The error for a change that the API server refused.
fn refused(name: &str, error: CallError) -> CommandError {
    match error.code() {
        Some(409) => {
            let what = format!("someone else has changed {name} meanwhile; nothing was changed");
            let next = format!("kubectl get cpl {name} -o yaml, then decide again");
            CommandError::usage("changed_meanwhile", what, next)
        }
        Some(422) => {
            let what = format!("the API server refused the change of {name}");
            let next = format!("kubectl get cpl {name} -o yaml");
            CommandError { why: CommandError::from(error).why, ..CommandError::usage("refused", what, next) }
        }
        _ => error.into(),
    }
}

/// Why a Complaint is not enforced on all relays; `None` if it is.
fn outstanding(complaint: &Complaint) -> Option<String> {
    let status = complaint.status.clone().unwrap_or_default();
    match find_condition(&status.conditions, "Enforced") {
        Some(one) if one.observed_generation != complaint.metadata.generation => {
            Some("the operator has not seen the decision yet: is it running?".to_owned())
        }
        Some(one) if one.status == "True" => None,
        Some(one) => Some(one.message.clone()),
        None => Some("the operator has not written a status yet: is it running?".to_owned()),
    }
}

fn done(complaint: &Complaint, effect: &str) -> String {
    let participle = match complaint.spec.decision {
        Decision::Acknowledged => "acknowledged",
        Decision::Dismissed => "dismissed",
        Decision::Lifted => "lifted",
        Decision::Pending => "left open",
    };
    format!("{participle} {effect}")
}

/// How long the enforcement took, as a line; empty if it is not known.
fn enforcement(complaint: &Complaint) -> String {
    let status = complaint.status.clone().unwrap_or_default();
    let (Some(began), Some(ended)) = (&status.acknowledged_at, &status.enforced_at) else {
        return String::new();
    };
    let seconds = (ended.0.as_second() - began.0.as_second()).max(0);
    let (relays, sessions) = (&status.relays.summary, status.sessions_closed);
    format!("offline on {relays} relays after {seconds} s; {sessions} sessions were closed\n")
}

/// Asks the person at the terminal. Without a terminal the answer is no.
fn is_confirmed(verb: &str, effect: &str) -> bool {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return false;
    }
    let mut answer = String::new();
    let asked = write!(stderr, "This will {verb} {effect}.\nContinue? [y/N] ").and_then(|()| stderr.flush());
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
                 "message": "1 of 2 relays have not confirmed it: b of eu", "lastTransitionTime": "2027-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    fn options(reason: &str) -> DecisionOptions {
        DecisionOptions {
            name: "cpl-1".to_owned(),
            reason: reason.to_owned(),
            by: None,
            yes: true,
            dry_run: false,
            timeout: "30s".to_owned(),
        }
    }

    #[test]
    fn a_decision_has_a_reason_and_an_end_in_the_future() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let until = |reason: &str, until: Option<&str>| {
            let (options, acknowledge) = (options(reason), AcknowledgeOptions { scope: None, until });
            request(Decision::Acknowledged, &options, acknowledge, now)
                .map(|request| request.until)
                .map_err(|error| error.what)
        };
        assert_eq!(until(" ", None).unwrap_err(), "--reason: needs 1 to 4096 bytes");
        assert!(until("x", Some("tomorrow")).unwrap_err().contains("is not a time"));
        assert!(until("x", Some("2020-01-01T00:00:00Z")).unwrap_err().contains("is in the past"));
        let end = "2027-01-01T00:00:00Z";
        assert_eq!(until("x", Some(end)).unwrap(), Some(end.parse().unwrap()));
    }

    #[test]
    fn the_effect_is_shown_and_the_patch_is_conditional() {
        let wide = DecisionRequest {
            decision: Decision::Acknowledged,
            reason: "a copy",
            scope: None,
            until: None,
            timeout: Duration::ZERO,
        };
        assert_eq!(
            effect(&complaint(), &wide),
            "cpl-1: account adit|eve goes offline in every region: shop.eu.example.com"
        );
        let narrow = DecisionRequest { scope: Some(Scope::Hostname), ..wide.clone() };
        assert_eq!(effect(&complaint(), &narrow), "cpl-1: https://shop.eu.example.com/ goes offline");
        assert_eq!(
            patch(&complaint(), &narrow, "ana"),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {"adit.dev/decided-by": "ana", "adit.dev/reason": "a copy"}},
                "spec": {"decision": "Acknowledged", "scope": "Hostname"},
            })
        );
    }

    #[test]
    fn relays_that_have_not_confirmed_are_named() {
        let mut complaint = complaint();
        assert_eq!(outstanding(&complaint).as_deref(), Some("1 of 2 relays have not confirmed it: b of eu"));
        complaint.metadata.generation = Some(3);
        assert!(outstanding(&complaint).unwrap().contains("has not seen the decision yet"));
        complaint.metadata.generation = Some(2);
        complaint.status.as_mut().unwrap().conditions[0].status = "True".to_owned();
        assert_eq!(outstanding(&complaint), None);
    }
}
