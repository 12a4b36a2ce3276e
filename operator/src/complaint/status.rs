//! What is said of a Complaint. Pure: what was found out and what was said before give what is said now.

use super::filing;
use adit_api::{
    Complaint, ComplaintStatus,
    complaint::{ConfirmedCounts, Phase},
};
use adit_store::{Judged, Scope, Standing, Subject};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// The most relays that a message names.
const NAMED: usize = 10;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store has it, and these relays are known.
    Judged(Box<Judged>, Standing),
    /// The store has it, and it is not known which relays there are.
    RelaysUnknown(Box<Judged>),
    /// It cannot be carried out: one word in CamelCase, and what is wrong.
    Stopped(&'static str, String),
}

/// Status, reason and message of a condition.
type Said = (&'static str, &'static str, String);

/// The status from now on.
pub fn status(complaint: &Complaint, outcome: &Outcome, now: Timestamp) -> ComplaintStatus {
    let old = complaint.status.clone().unwrap_or_default();
    let generation = complaint.metadata.generation;
    let mut status = ComplaintStatus {
        observed_generation: generation,
        against: Some(filing::against(complaint).to_owned()),
        ..old.clone()
    };
    let (ready, enforced) = match outcome {
        Outcome::Judged(judged, standing) => {
            fill(&mut status, judged);
            status.phase = Some(phase(standing.phase));
            let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
            status.relays = match standing.phase {
                adit_store::Phase::Enforcing | adit_store::Phase::Enforced => ConfirmedCounts {
                    confirmed: count(standing.confirmed),
                    relays: count(standing.relays),
                    summary: format!("{}/{}", standing.confirmed, standing.relays),
                },
                _ => ConfirmedCounts::default(),
            };
            (readiness(judged, standing), enforcement(standing))
        }
        Outcome::RelaysUnknown(judged) => {
            fill(&mut status, judged);
            let message = "the store has it; it does not say which relays there are".to_owned();
            let enforced = format!("{message}{}", outstanding(&old));
            (("Unknown", "RelaysUnknown", message), ("Unknown", "RelaysUnknown", enforced))
        }
        Outcome::Stopped(reason, message) => {
            status.phase = Some(old.phase.unwrap_or(Phase::Open));
            // What relays enforce does not change by that.
            let kept = old.conditions.iter().find(|one| one.type_ == "Enforced");
            let was_enforced =
                kept.is_some_and(|one| one.status == "True") && old.observed_generation == generation;
            let enforced = if was_enforced { "True" } else { "False" };
            (
                ("False", *reason, message.clone()),
                (enforced, *reason, format!("{message}{}", outstanding(&old))),
            )
        }
    };
    status.conditions = [("Ready", ready), ("Enforced", enforced)]
        .into_iter()
        .map(|(kind, said)| condition(&old, kind, said, generation, now))
        .collect();
    status
}

/// What a condition says of those that were outstanding when that was last known.
const BEFORE: &str = "; before that it ";

/// The same again from the status until now, however often nothing new was learnt meanwhile.
fn outstanding(old: &ComplaintStatus) -> String {
    let Some(kept) = old.conditions.iter().find(|one| one.type_ == "Enforced") else { return String::new() };
    let words = match kept.message.split_once(BEFORE) {
        _ if kept.reason == "Waiting" => Some(kept.message.as_str()),
        Some((_, words)) => Some(words),
        None => None,
    };
    words.map_or(String::new(), |words| format!("{BEFORE}{words}"))
}

fn fill(status: &mut ComplaintStatus, judged: &Judged) {
    let complaint = &judged.complaint;
    let time = |seconds: Option<u64>| {
        let seconds = i64::try_from(seconds?).ok()?;
        Timestamp::from_second(seconds).ok().map(Time)
    };
    status.account = complaint.account_text();
    status.hostnames.clone_from(&complaint.hostnames);
    status.sessions_closed = i64::try_from(judged.sessions_closed).unwrap_or(i64::MAX);
    status.acknowledged_at = time(complaint.acknowledged_at);
    status.enforced_at = time(complaint.enforced_at);
}

fn phase(phase: adit_store::Phase) -> Phase {
    match phase {
        adit_store::Phase::Open => Phase::Open,
        adit_store::Phase::Enforcing => Phase::Enforcing,
        adit_store::Phase::Enforced => Phase::Enforced,
        adit_store::Phase::Lifted => Phase::Lifted,
        adit_store::Phase::Dismissed => Phase::Dismissed,
        adit_store::Phase::Expired => Phase::Expired,
    }
}

fn waits(standing: &Standing) -> String {
    let mut names: Vec<String> = standing
        .outstanding
        .iter()
        .take(NAMED)
        .map(|(region, relay)| format!("{relay} of {region}"))
        .collect();
    if standing.outstanding.len() > NAMED {
        names.push(format!("{} more", standing.outstanding.len() - NAMED));
    }
    format!("waits for {} of {} relays: {}", standing.outstanding.len(), standing.relays, names.join(", "))
}

fn enforcement(standing: &Standing) -> Said {
    match standing.phase {
        adit_store::Phase::Open => ("False", "Open", "nothing has been decided".to_owned()),
        adit_store::Phase::Enforcing => ("False", "Waiting", waits(standing)),
        adit_store::Phase::Enforced => {
            ("True", "AllRelays", format!("all {} relays have confirmed", standing.relays))
        }
        adit_store::Phase::Lifted => ("False", "Lifted", "it is over".to_owned()),
        adit_store::Phase::Dismissed => ("False", "Dismissed", "it was not right".to_owned()),
        adit_store::Phase::Expired => ("False", "Expired", "its time is over".to_owned()),
    }
}

fn readiness(judged: &Judged, standing: &Standing) -> Said {
    let complaint = &judged.complaint;
    let filing = &complaint.filing;
    let unseen = complaint.account.is_none()
        || (complaint.hostnames.is_empty() && matches!(filing.subject, Subject::Account(_)));
    let mut words = match standing.phase {
        adit_store::Phase::Open => "waits for a decision: set spec.decision".to_owned(),
        adit_store::Phase::Enforcing => waits(standing),
        adit_store::Phase::Enforced => format!("offline on all {} relays", standing.relays),
        adit_store::Phase::Lifted => "lifted".to_owned(),
        adit_store::Phase::Dismissed => "dismissed".to_owned(),
        adit_store::Phase::Expired => "its time is over".to_owned(),
    };
    if unseen {
        let what = match (&filing.subject, filing.scope) {
            (Subject::Account(_), _) => "the account has no names: it is kept out all the same",
            (_, Scope::Account) => {
                "nobody has had this address: it is kept out itself, as no account is known"
            }
            (_, Scope::Hostname) => "nobody has had this address: it is kept out all the same",
        };
        words = format!("{words}; {what}");
    }
    if !judged.others.is_empty() {
        let others = judged.others.join(", ");
        let is_in_force =
            matches!(standing.phase, adit_store::Phase::Enforcing | adit_store::Phase::Enforced);
        let what = if is_in_force { "is kept offline by" } else { "stays offline because of" };
        words = format!("{words}; the same target {what} {others} too");
    }
    let reason = if unseen { "NotYetSeen" } else { standing.phase.as_str() };
    ("True", reason, words)
}

fn condition(
    old: &ComplaintStatus,
    kind: &str,
    said: Said,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let (status, reason, message) = said;
    let before = old.conditions.iter().find(|one| one.type_ == kind && one.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: before.map_or(Time(now), |one| one.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_store::RelaySeen;
    use serde_json::json;

    fn complaint(decision: &str) -> Complaint {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint",
            "metadata": {"name": "cpl-1", "namespace": "tunnels", "uid": "u-1", "generation": 3},
            "spec": {"against": {"hostname": "shop.eu.example.com"}, "category": "Spam", "decision": decision},
        }))
        .unwrap()
    }

    fn judged(complaint: &Complaint, account: Option<&str>) -> Judged {
        Judged {
            complaint: adit_store::Complaint {
                filing: filing::filing(complaint).unwrap(),
                filed_at: 1,
                decided_at: Some(2),
                acknowledged_at: Some(2),
                enforced_at: None,
                account: account.map(adit_store_account),
                hostnames: account.map(|_| "shop.eu.example.com".to_owned()).into_iter().collect(),
                version: 4,
            },
            sessions_closed: 2,
            others: vec![],
        }
    }

    fn adit_store_account(name: &str) -> adit_protocol::Account {
        adit_protocol::Account::managed(name)
    }

    fn relay(id: &str, version: u64) -> RelaySeen {
        RelaySeen {
            region: "eu.example.com".to_owned(),
            relay: id.parse().unwrap(),
            started: 0,
            seen: 0,
            suspensions_version: version,
            config_revision: String::new(),
            config_refused: None,
            draining: false,
            sessions: 0,
            tunnels: 0,
            registry_up: true,
            challenges_version: 0,
            served: vec![],
            certificate_problem: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn word<'a>(status: &'a ComplaintStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
        let one = status.conditions.iter().find(|one| one.type_ == kind).unwrap();
        (&one.status, &one.reason, &one.message)
    }

    fn said(complaint: &Complaint, judged: &Judged, relays: &[RelaySeen], second: i64) -> ComplaintStatus {
        let standing = Standing::of(&judged.complaint, relays, second.unsigned_abs());
        status(complaint, &Outcome::Judged(Box::new(judged.clone()), standing), at(second))
    }

    #[test]
    fn it_is_enforced_when_all_relays_have_confirmed_and_names_those_that_have_not() {
        let mut object = complaint("Acknowledged");
        let judged = judged(&object, Some("eve"));
        let waiting = said(&object, &judged, &[relay("a", 4), relay("b", 3)], 10);
        assert_eq!(waiting.phase, Some(Phase::Enforcing));
        assert_eq!(waiting.relays.summary, "1/2");
        let words = "waits for 1 of 2 relays: b of eu.example.com";
        assert_eq!(word(&waiting, "Enforced"), ("False", "Waiting", words));
        assert_eq!((waiting.account.as_deref(), waiting.sessions_closed), (Some("adit|eve"), 2));
        object.status = Some(waiting.clone());
        assert_eq!(said(&object, &judged, &[relay("a", 4), relay("b", 3)], 20), waiting, "nothing new");
        let done = said(&object, &judged, &[relay("a", 4), relay("b", 5)], 20);
        assert_eq!(word(&done, "Enforced").0, "True");
        assert_eq!((done.phase, done.conditions[1].last_transition_time.0), (Some(Phase::Enforced), at(20)));
        assert_eq!(done.conditions[0].last_transition_time.0, at(10));

        // The store goes away: what is enforced stays so, and what is outstanding is still said.
        let away = Outcome::Stopped("StoreUnavailable", "the store is away".to_owned());
        object.status = Some(done);
        assert_eq!(word(&status(&object, &away, at(30)), "Enforced").0, "True");
        object.status = Some(waiting);
        let message = format!("the store is away; before that it {words}");
        for second in [30, 40] {
            let kept = status(&object, &away, at(second));
            assert_eq!(word(&kept, "Enforced"), ("False", "StoreUnavailable", message.as_str()));
            object.status = Some(kept);
        }
        let unknown = status(&object, &Outcome::RelaysUnknown(Box::new(judged)), at(50));
        assert!(word(&unknown, "Enforced").2.ends_with(words), "{unknown:?}");
    }

    #[test]
    fn what_nobody_has_had_and_what_others_hold_is_said() {
        let object = complaint("Acknowledged");
        let unseen = said(&object, &judged(&object, None), &[relay("a", 4)], 10);
        assert_eq!(word(&unseen, "Ready").1, "NotYetSeen");
        assert_eq!(unseen.phase, Some(Phase::Enforced));
        let dismissed = complaint("Dismissed");
        let held = Judged { others: vec!["cpl-2".to_owned()], ..judged(&dismissed, Some("eve")) };
        let message = "dismissed; the same target stays offline because of cpl-2 too";
        let held = said(&dismissed, &held, &[relay("a", 1)], 10);
        assert_eq!(word(&held, "Ready"), ("True", "Dismissed", message));
        assert_eq!((held.relays.summary.as_str(), held.phase), ("", Some(Phase::Dismissed)));
    }
}
