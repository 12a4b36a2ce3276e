//! The status of a Complaint. Pure: it depends on the enforcement, the status before and the time.

use super::{convert, filing};
use crate::controller::{Blocked, ConditionValue, conditions, find_condition};
use adit_api::{Complaint, ComplaintStatus, complaint::ConfirmedCounts};
use adit_store::{ComplaintOutcome, EnforcementProgress, Phase, Scope, Subject};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// Maximum relays that a message names.
const MAX_NAMED_RELAYS: usize = 10;
/// Separates a message from what was outstanding when that was last known.
const OUTSTANDING_BEFORE: &str = "; before that: ";

/// How far a decision is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Enforcement {
    /// The store has applied the decision, and these relays are known.
    Known(Box<ComplaintOutcome>, EnforcementProgress),
    /// The store has applied the decision, but does not say which relays there are.
    RelaysUnknown(Box<ComplaintOutcome>),
    /// The decision cannot be applied.
    Blocked(Blocked),
}

/// The status of a Complaint from now on. `complaint` has the status before.
pub(super) fn status(complaint: &Complaint, enforcement: &Enforcement, now: Timestamp) -> ComplaintStatus {
    let old = complaint.status.clone().unwrap_or_default();
    let generation = complaint.metadata.generation;
    let mut status = ComplaintStatus {
        observed_generation: generation,
        against: Some(filing::against(complaint).to_owned()),
        ..old.clone()
    };
    let (ready, enforced) = match enforcement {
        Enforcement::Known(judged, progress) => {
            copy_facts(&mut status, judged);
            status.phase = Some(convert::phase(progress.phase));
            status.relays = confirmed_counts(progress);
            (readiness(judged, progress), enforced(progress))
        }
        Enforcement::RelaysUnknown(judged) => {
            copy_facts(&mut status, judged);
            let message = "The store has applied the decision and does not say which relays there are";
            let outstanding = format!("{message}{}", outstanding_before(&old));
            (
                ConditionValue::unknown("RelaysUnknown", message),
                ConditionValue::unknown("RelaysUnknown", outstanding),
            )
        }
        Enforcement::Blocked(blocked) => {
            status.phase = Some(old.phase.unwrap_or(adit_api::complaint::Phase::Open));
            // What relays enforce does not change by that.
            let before = find_condition(&old.conditions, "Enforced");
            let is_enforced =
                before.is_some_and(|one| one.status == "True") && old.observed_generation == generation;
            let outstanding = format!("{}{}", blocked.message, outstanding_before(&old));
            let value = if is_enforced { ConditionValue::yes } else { ConditionValue::no };
            (blocked.into(), value(blocked.reason, outstanding))
        }
    };
    let values = [("Ready", ready), ("Enforced", enforced)];
    status.conditions = conditions(&old.conditions, values, generation, now);
    status
}

/// What was outstanding when that was last known, as an addition to a message.
fn outstanding_before(old: &ComplaintStatus) -> String {
    let Some(enforced) = find_condition(&old.conditions, "Enforced") else { return String::new() };
    let outstanding = match enforced.message.split_once(OUTSTANDING_BEFORE) {
        _ if enforced.reason == "Waiting" => Some(enforced.message.as_str()),
        Some((_, outstanding)) => Some(outstanding),
        None => None,
    };
    outstanding.map_or(String::new(), |outstanding| format!("{OUTSTANDING_BEFORE}{outstanding}"))
}

/// Copies what the store knows of a Complaint.
fn copy_facts(status: &mut ComplaintStatus, judged: &ComplaintOutcome) {
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

fn confirmed_counts(progress: &EnforcementProgress) -> ConfirmedCounts {
    if !is_in_force(progress.phase) {
        return ConfirmedCounts::default();
    }
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    ConfirmedCounts {
        confirmed: count(progress.confirmed),
        relays: count(progress.relays),
        summary: format!("{}/{}", progress.confirmed, progress.relays),
    }
}

fn is_in_force(phase: Phase) -> bool {
    matches!(phase, Phase::Enforcing | Phase::Enforced)
}

/// Which relays have not confirmed a decision.
fn outstanding(progress: &EnforcementProgress) -> String {
    let all = &progress.outstanding;
    let mut names: Vec<String> =
        all.iter().take(MAX_NAMED_RELAYS).map(|(region, relay)| format!("{relay} of {region}")).collect();
    if all.len() > MAX_NAMED_RELAYS {
        names.push(format!("{} more", all.len() - MAX_NAMED_RELAYS));
    }
    format!("{} of {} relays have not confirmed it: {}", all.len(), progress.relays, names.join(", "))
}

fn enforced(progress: &EnforcementProgress) -> ConditionValue {
    match progress.phase {
        Phase::Open => ConditionValue::no("Open", "No decision has been made"),
        Phase::Enforcing => ConditionValue::no("Waiting", outstanding(progress)),
        Phase::Enforced => {
            let message = match progress.relays {
                1 => "The only relay has confirmed it".to_owned(),
                relays => format!("All {relays} relays have confirmed it"),
            };
            ConditionValue::yes("AllRelays", message)
        }
        Phase::Lifted => ConditionValue::no("Lifted", "The suspension has been lifted"),
        Phase::Dismissed => ConditionValue::no("Dismissed", "The complaint has been dismissed"),
        Phase::Expired => ConditionValue::no("Expired", "The suspension has expired"),
    }
}

fn readiness(judged: &ComplaintOutcome, progress: &EnforcementProgress) -> ConditionValue {
    let filing = &judged.complaint.filing;
    let is_unseen = judged.complaint.account.is_none()
        || (judged.complaint.hostnames.is_empty() && matches!(filing.subject, Subject::Account(_)));
    let mut message = match progress.phase {
        Phase::Open => "The complaint waits for a decision: set spec.decision".to_owned(),
        Phase::Enforcing => outstanding(progress),
        Phase::Enforced if progress.relays == 1 => "The target is offline on the only relay".to_owned(),
        Phase::Enforced => format!("The target is offline on all {} relays", progress.relays),
        Phase::Lifted => "The suspension has been lifted".to_owned(),
        Phase::Dismissed => "The complaint has been dismissed".to_owned(),
        Phase::Expired => "The suspension has expired".to_owned(),
    };
    if is_unseen {
        let reason = match (&filing.subject, filing.scope) {
            (Subject::Account(_), _) => "the account has no names; it is suspended all the same",
            (_, Scope::Account) => {
                "no account has had this address; the address itself is suspended, because no account is known"
            }
            (_, Scope::Hostname) => "no account has had this address; it is suspended all the same",
        };
        message = format!("{message}; {reason}");
    }
    if !judged.others.is_empty() {
        let others = judged.others.join(", ");
        let verb =
            if is_in_force(progress.phase) { "is kept offline by" } else { "stays offline because of" };
        message = format!("{message}; the same target {verb} {others} too");
    }
    ConditionValue::yes(if is_unseen { "NotYetSeen" } else { progress.phase.as_str() }, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_api::complaint::Phase;
    use adit_store::RelayStatus;
    use serde_json::json;

    fn complaint(decision: &str) -> Complaint {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint",
            "metadata": {"name": "cpl-1", "namespace": "tunnels", "uid": "u-1", "generation": 3},
            "spec": {"against": {"hostname": "shop.eu.example.com"}, "category": "Spam", "decision": decision},
        }))
        .unwrap()
    }

    fn judged(complaint: &Complaint, account: Option<&str>) -> ComplaintOutcome {
        ComplaintOutcome {
            complaint: adit_store::Complaint {
                filing: filing::filing(complaint).unwrap(),
                filed_at: 1,
                decided_at: Some(2),
                acknowledged_at: Some(2),
                enforced_at: None,
                account: account.map(adit_protocol::Account::managed),
                hostnames: account.map(|_| "shop.eu.example.com".to_owned()).into_iter().collect(),
                version: 4,
            },
            sessions_closed: 2,
            others: vec![],
        }
    }

    fn relay(id: &str, version: u64) -> RelayStatus {
        RelayStatus {
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

    fn value<'a>(status: &'a ComplaintStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
        let one = status.conditions.iter().find(|one| one.type_ == kind).unwrap();
        (&one.status, &one.reason, &one.message)
    }

    fn known(
        complaint: &Complaint,
        judged: &ComplaintOutcome,
        relays: &[RelayStatus],
        second: i64,
    ) -> ComplaintStatus {
        let progress = EnforcementProgress::of(&judged.complaint, relays, second.unsigned_abs());
        status(complaint, &Enforcement::Known(Box::new(judged.clone()), progress), at(second))
    }

    #[test]
    fn it_is_enforced_when_all_relays_have_confirmed_it() {
        let mut object = complaint("Acknowledged");
        let judged = judged(&object, Some("eve"));
        let waiting = known(&object, &judged, &[relay("a", 4), relay("b", 3)], 10);
        assert_eq!(waiting.phase, Some(Phase::Enforcing));
        assert_eq!(waiting.relays.summary, "1/2");
        let outstanding = "1 of 2 relays have not confirmed it: b of eu.example.com";
        assert_eq!(value(&waiting, "Enforced"), ("False", "Waiting", outstanding));
        assert_eq!((waiting.account.as_deref(), waiting.sessions_closed), (Some("adit|eve"), 2));
        object.status = Some(waiting.clone());
        assert_eq!(
            known(&object, &judged, &[relay("a", 4), relay("b", 3)], 20),
            waiting,
            "nothing has changed"
        );
        let done = known(&object, &judged, &[relay("a", 4), relay("b", 5)], 20);
        assert_eq!(value(&done, "Enforced").0, "True");
        assert_eq!((done.phase, done.conditions[1].last_transition_time.0), (Some(Phase::Enforced), at(20)));
        assert_eq!(done.conditions[0].last_transition_time.0, at(10));

        // The store becomes unavailable: what is enforced stays so, and the outstanding relays are still named.
        let unavailable = Enforcement::Blocked(Blocked::new("StoreUnavailable", "No answer"));
        object.status = Some(done);
        assert_eq!(value(&status(&object, &unavailable, at(30)), "Enforced").0, "True");
        object.status = Some(waiting);
        let message = format!("No answer; before that: {outstanding}");
        for second in [30, 40] {
            let kept = status(&object, &unavailable, at(second));
            assert_eq!(value(&kept, "Enforced"), ("False", "StoreUnavailable", message.as_str()));
            object.status = Some(kept);
        }
        let unknown = status(&object, &Enforcement::RelaysUnknown(Box::new(judged)), at(50));
        assert!(value(&unknown, "Enforced").2.ends_with(outstanding), "{unknown:?}");
    }

    #[test]
    fn unseen_targets_and_other_complaints_are_named() {
        let object = complaint("Acknowledged");
        let unseen = known(&object, &judged(&object, None), &[relay("a", 4)], 10);
        assert_eq!(value(&unseen, "Ready").1, "NotYetSeen");
        assert_eq!(unseen.phase, Some(Phase::Enforced));
        let dismissed = complaint("Dismissed");
        let held = ComplaintOutcome { others: vec!["cpl-2".to_owned()], ..judged(&dismissed, Some("eve")) };
        let message = "The complaint has been dismissed; the same target stays offline because of cpl-2 too";
        let held = known(&dismissed, &held, &[relay("a", 1)], 10);
        assert_eq!(value(&held, "Ready"), ("True", "Dismissed", message));
        assert_eq!((held.relays.summary.as_str(), held.phase), ("", Some(Phase::Dismissed)));
    }
}
