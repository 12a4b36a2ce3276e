//! What is said of a Certificate. Pure: what was seen and what was said before give what is said now.

use super::{
    inquiry::{Answer, Asked},
    request::Wrong,
};
use adit_acme::{CONFIRM_SECONDS, certificate};
use adit_api::{
    Certificate, CertificateStatus,
    certificate::{ChallengeStatus, OrderStatus, RegionServed, ServedCounts},
};
use adit_store::{RelaySeen, StoredCertificate, StoredOrder};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A clock that is off by more than this is said to be, in seconds.
const CLOCK_SECONDS: i64 = 3600;
/// How many relays are named that could not be asked.
const MOST_NAMED: usize = 5;

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What is wrong with the Certificate itself.
    pub(super) wrong: Option<Wrong>,
    /// The Certificate that had the names first: namespace/name, and a name of both.
    pub(super) conflict: Option<(String, String)>,
    /// Whether an attempt is being made right now.
    pub(super) is_trying: bool,
    /// What relays should serve.
    pub(super) stored: Option<StoredCertificate>,
    /// Whether that is what is asked for now.
    pub(super) is_current: bool,
    /// The order.
    pub(super) order: Option<StoredOrder>,
    /// When it is renewed, in seconds since 1970.
    pub(super) renewal_at: Option<u64>,
    /// What relays say.
    pub(super) relays: Vec<RelaySeen>,
    /// What relays were found to serve; absent: they were not asked.
    pub(super) asked: Option<Vec<Asked>>,
    /// By how many seconds the CA's clock is ahead.
    pub(super) clock_ahead: Option<i64>,
    /// Seconds since 1970.
    pub(super) now: u64,
}

type Said = (&'static str, String, String);

fn said(status: &'static str, reason: &str, message: impl Into<String>) -> Said {
    (status, reason.to_owned(), message.into())
}

/// What is said of a Certificate now.
pub(super) fn status(certificate: &Certificate, seen: &Seen, now: Timestamp) -> CertificateStatus {
    let old = certificate.status.clone().unwrap_or_default();
    let generation = certificate.metadata.generation;
    let served = served(certificate, seen);
    let conditions = [
        ("Ready", readiness(seen)),
        ("Issuing", issuing(seen)),
        ("RolledOut", rolled_out(seen, &served, &old)),
        ("Conflict", conflict(seen)),
    ];
    let condition = |(kind, said): (&str, Said)| condition(&old, kind, said, generation, now);
    let facts = seen.stored.as_ref().and_then(|stored| certificate::facts(&stored.chain).ok());
    let time = |seconds: u64| Some(certificate::rfc3339(seconds));
    let failed = seen.order.as_ref().filter(|order| order.failures > 0);
    CertificateStatus {
        observed_generation: generation,
        conditions: conditions.into_iter().map(condition).collect(),
        not_before: facts.as_ref().and_then(|facts| time(facts.not_before)),
        not_after: facts.as_ref().and_then(|facts| time(facts.not_after)),
        renewal_time: seen.renewal_at.and_then(time),
        serial: facts.as_ref().map(|facts| facts.serial.clone()),
        fingerprint: facts.as_ref().map(|facts| facts.fingerprint.clone()),
        issuer: facts.map(|facts| facts.issuer),
        revision: seen.stored.as_ref().map(|stored| i64::try_from(stored.revision).unwrap_or(i64::MAX)),
        served,
        order: seen.order.as_ref().and_then(order),
        failed_attempts: failed.map_or(0, |order| i32::try_from(order.failures).unwrap_or(i32::MAX)),
        next_attempt: failed
            .filter(|order| order.next_attempt > seen.now)
            .and_then(|order| time(order.next_attempt)),
    }
}

#[derive(Deserialize)]
struct Shown {
    name: String,
    state: String,
    problem: Option<String>,
}

fn order(order: &StoredOrder) -> Option<OrderStatus> {
    if order.url.is_none() && order.problem.is_none() {
        return None;
    }
    let shown: Vec<Shown> = serde_json::from_str(&order.challenges).unwrap_or_default();
    let challenge =
        |shown: Shown| ChallengeStatus { name: shown.name, state: shown.state, problem: shown.problem };
    Some(OrderStatus {
        state: order.state.clone(),
        problem: order.problem.clone(),
        challenges: shown.into_iter().map(challenge).collect(),
    })
}

/// The live relays of its regions.
fn live<'a>(certificate: &'a Certificate, seen: &'a Seen) -> impl Iterator<Item = &'a RelaySeen> {
    let regions = &certificate.spec.regions;
    let live = |relay: &&RelaySeen| seen.now.saturating_sub(relay.seen) < CONFIRM_SECONDS;
    let meant = |relay: &&RelaySeen| regions.is_empty() || regions.contains(&relay.region);
    seen.relays.iter().filter(live).filter(meant)
}

fn has_confirmed(relay: &RelaySeen, seen: &Seen) -> bool {
    seen.stored.as_ref().is_some_and(|stored| relay.served.contains(&stored.fingerprint))
}

/// Whom to ask whether it serves what it has confirmed; nobody while one has not. Those that are going take no new
/// connections.
pub(super) fn to_be_asked<'a>(certificate: &'a Certificate, seen: &'a Seen) -> Vec<&'a RelaySeen> {
    if !seen.is_current || !live(certificate, seen).all(|relay| has_confirmed(relay, seen)) {
        return Vec::new();
    }
    live(certificate, seen).filter(|relay| !relay.draining).collect()
}

/// How many relays serve it, by region.
fn served(certificate: &Certificate, seen: &Seen) -> ServedCounts {
    let mut counts: BTreeMap<&str, (i32, i32)> =
        certificate.spec.regions.iter().map(|region| (region.as_str(), (0, 0))).collect();
    for relay in live(certificate, seen) {
        let count = counts.entry(&relay.region).or_default();
        count.0 += i32::from(has_confirmed(relay, seen));
        count.1 += 1;
    }
    let served: i32 = counts.values().map(|(served, _)| served).sum();
    let relays: i32 = counts.values().map(|(_, relays)| relays).sum();
    let region = |(region, (served, relays)): (&str, (i32, i32))| RegionServed {
        region: region.to_owned(),
        served,
        relays,
    };
    ServedCounts { summary: format!("{served}/{relays}"), regions: counts.into_iter().map(region).collect() }
}

/// The word and the words of the last failure.
fn problem(order: &StoredOrder) -> Option<(String, String)> {
    let (reason, text) = order.problem.as_ref()?.split_once(": ")?;
    Some((reason.to_owned(), text.to_owned()))
}

fn readiness(seen: &Seen) -> Said {
    if let Some(wrong) = &seen.wrong {
        return said("False", wrong.reason, &wrong.message);
    }
    if let Some((first, name)) = &seen.conflict {
        return said(
            "False",
            "Conflict",
            format!("spec.dnsNames: {name:?} is in Certificate {first}, which was first"),
        );
    }
    let failure = seen.order.as_ref().and_then(problem);
    match &seen.stored {
        Some(stored) if seen.is_current && stored.not_after > seen.now => {
            let until = certificate::rfc3339(stored.not_after);
            match failure {
                Some((_, text)) => {
                    said("True", "RenewalFailing", format!("valid until {until}; the renewal failed: {text}"))
                }
                None => said("True", "Issued", format!("valid until {until}")),
            }
        }
        stored => {
            let (reason, text) =
                failure.unwrap_or(("Issuing".to_owned(), "the certificate is being issued".to_owned()));
            match stored {
                Some(stored) if stored.not_after <= seen.now => {
                    let ended = certificate::rfc3339(stored.not_after);
                    said("False", "Expired", format!("ended at {ended}; {text}"))
                }
                Some(_) => said("False", &reason, format!("{text}; the certificate before is served")),
                None => said("False", &reason, text),
            }
        }
    }
}

fn issuing(seen: &Seen) -> Said {
    if seen.is_trying {
        return said("True", "Issuing", "a certificate is being issued");
    }
    let failure = seen.order.as_ref().and_then(problem);
    if let Some(ahead) = seen.clock_ahead.filter(|ahead| ahead.abs() > CLOCK_SECONDS) {
        let message = format!(
            "this clock is {} s {} the CA's: set it right",
            ahead.abs(),
            if ahead > 0 { "behind" } else { "ahead of" }
        );
        return said("False", "ClockSkewed", message);
    }
    match (failure, &seen.order) {
        (Some((reason, text)), Some(order)) if order.next_attempt > seen.now => {
            let next = certificate::rfc3339(order.next_attempt);
            said("False", &reason, format!("{text}; the next attempt is at {next}"))
        }
        (Some((reason, text)), _) => said("True", &reason, text),
        (None, _) if seen.is_current => said("False", "UpToDate", "the certificate is not due"),
        (None, _) if seen.wrong.is_some() || seen.conflict.is_some() => {
            said("False", "Stopped", "see the condition Ready")
        }
        (None, _) => said("True", "Issuing", "a certificate is being issued"),
    }
}

fn rolled_out(seen: &Seen, served: &ServedCounts, old: &CertificateStatus) -> Said {
    let Some(stored) = &seen.stored else {
        return said("False", "NotIssued", "there is no certificate yet");
    };
    let refused = seen.relays.iter().find_map(|relay| {
        let problem = relay.certificate_problem.as_ref()?;
        problem
            .starts_with(&stored.names.join(", "))
            .then(|| format!("relay {} of {}: {problem}", relay.relay, relay.region))
    });
    let (has, all): (i32, i32) =
        served.regions.iter().fold((0, 0), |sum, region| (sum.0 + region.served, sum.1 + region.relays));
    match refused {
        Some(refused) => said("False", "RefusedByRelay", refused),
        None if all == 0 => said("False", "NoRelays", "its regions have no relays"),
        None if has < all => said("False", "RollingOut", format!("{has} of {all} relays serve it")),
        None if !seen.is_current => said("False", "OutOfDate", "relays serve what was asked for before"),
        None => match &seen.asked {
            Some(asked) => found(all, asked),
            None => as_before(all, stored, old),
        },
    }
}

/// All have confirmed it, and were asked.
fn found(all: i32, asked: &[Asked]) -> Said {
    let mut unasked = Vec::new();
    for Asked { who, answer } in asked {
        match answer {
            Answer::Serves => {}
            Answer::Other(fingerprint) => {
                let message = format!(
                    "relay {who} has confirmed it, and shows another one in a TLS handshake: fingerprint {fingerprint}"
                );
                return said("False", "ServedOtherwise", message);
            }
            Answer::Refuses(why) => {
                let message = format!("relay {who} has confirmed it, and does not serve it: {why}");
                return said("False", "NotServed", message);
            }
            Answer::Unasked(why) => unasked.push(format!("{who} ({why})")),
        }
    }
    let mut message = format!("all {all} relays serve it");
    if !unasked.is_empty() {
        let more = unasked.len().saturating_sub(MOST_NAMED);
        unasked.truncate(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let unasked = unasked.join(", ");
        message.push_str(&format!(
            "; by their own word alone, as they could not be asked by TLS: {unasked}{more}"
        ));
    }
    said("True", "RolledOut", message)
}

/// All have confirmed it, and were not asked yet: what was found of this very certificate before stands until then.
fn as_before(all: i32, stored: &StoredCertificate, old: &CertificateStatus) -> Said {
    let before = old.conditions.iter().find(|one| one.type_ == "RolledOut" && one.status == "True");
    match before.filter(|_| old.fingerprint.as_ref() == Some(&stored.fingerprint)) {
        Some(before) => said("True", "RolledOut", before.message.clone()),
        None => said("False", "Asking", format!("all {all} relays have confirmed it, and are asked by TLS")),
    }
}

fn conflict(seen: &Seen) -> Said {
    match &seen.conflict {
        Some((first, name)) => {
            said("True", "NameTaken", format!("{name:?} is in Certificate {first}, which was first"))
        }
        None => said("False", "NoConflict", "no other Certificate has these names"),
    }
}

fn condition(
    old: &CertificateStatus,
    kind: &str,
    (status, reason, message): Said,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let before = old.conditions.iter().find(|one| one.type_ == kind && one.status == status);
    let since = before.map_or(Time(now), |before| before.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason,
        message: message.chars().take(8_000).collect(),
        observed_generation: generation,
        last_transition_time: since,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
