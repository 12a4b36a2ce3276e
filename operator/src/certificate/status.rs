//! The status of a Certificate. Pure: it depends on the observation, the status before and the time.

use super::relay_prober::{ProbeOutcome, ProbeResult};
use crate::controller::{Blocked, ConditionValue, NamespacedName, conditions, find_condition};
use adit_acme::{RELAY_ALIVE_SECONDS, certificate};
use adit_api::{
    Certificate, CertificateStatus,
    certificate::{ChallengeStatus, OrderStatus, RegionServed, ServedCounts},
};
use adit_store::{RelayStatus, StoredCertificate, StoredOrder};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Difference between the CA's clock and this one that is reported, in seconds.
const MAX_CLOCK_DIFFERENCE_SECONDS: i64 = 3600;
/// Maximum relays that a message names.
const MAX_NAMED_RELAYS: usize = 5;

/// An older Certificate that has one of the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameConflict {
    /// The older Certificate.
    pub(super) owner: NamespacedName,
    /// A DNS name of both.
    pub(super) dns_name: String,
}

/// All that decides about a Certificate's status.
#[derive(Clone, Debug, Default)]
pub(super) struct CertificateObservation {
    /// A mistake in the Certificate or a Secret.
    pub(super) blocked: Option<Blocked>,
    /// The older Certificate with one of the names.
    pub(super) conflict: Option<NameConflict>,
    /// Whether an attempt is being made.
    pub(super) is_attempting: bool,
    /// The certificate that relays should serve.
    pub(super) stored: Option<StoredCertificate>,
    /// Whether that certificate is what the spec asks for.
    pub(super) is_current: bool,
    /// The order at the CA.
    pub(super) order: Option<StoredOrder>,
    /// When the certificate will be renewed, in seconds since 1970.
    pub(super) renewal_at: Option<u64>,
    /// The relays' reports.
    pub(super) relays: Vec<RelayStatus>,
    /// What relays serve; `None` before they are probed.
    pub(super) probes: Option<Vec<ProbeResult>>,
    /// How far the CA's clock is ahead, in seconds.
    pub(super) clock_ahead: Option<i64>,
    /// The time, in seconds since 1970.
    pub(super) now: u64,
}

/// The status of a Certificate from now on. `certificate` has the status before.
pub(super) fn status(
    certificate: &Certificate,
    observation: &CertificateObservation,
    now: Timestamp,
) -> CertificateStatus {
    let old = certificate.status.clone().unwrap_or_default();
    let generation = certificate.metadata.generation;
    let served = served_counts(certificate, observation);
    let values = [
        ("Ready", readiness(observation)),
        ("Issuing", issuing(observation)),
        ("RolledOut", rolled_out(observation, &served, &old)),
        ("Conflict", conflict(observation)),
    ];
    let stored = observation.stored.as_ref();
    let facts = stored.and_then(|stored| certificate::facts(&stored.chain).ok());
    let rfc3339 = |seconds: u64| Some(certificate::rfc3339(seconds));
    let failed = observation.order.as_ref().filter(|order| order.failures > 0);
    CertificateStatus {
        observed_generation: generation,
        conditions: conditions(&old.conditions, values, generation, now),
        not_before: facts.as_ref().and_then(|facts| rfc3339(facts.not_before)),
        not_after: facts.as_ref().and_then(|facts| rfc3339(facts.not_after)),
        renewal_time: observation.renewal_at.and_then(rfc3339),
        serial: facts.as_ref().map(|facts| facts.serial.clone()),
        fingerprint: facts.as_ref().map(|facts| facts.fingerprint.clone()),
        issuer: facts.map(|facts| facts.issuer),
        revision: stored.map(|stored| i64::try_from(stored.revision).unwrap_or(i64::MAX)),
        served,
        order: observation.order.as_ref().and_then(order_status),
        failed_attempts: failed.map_or(0, |order| i32::try_from(order.failures).unwrap_or(i32::MAX)),
        next_attempt: failed
            .filter(|order| order.next_attempt > observation.now)
            .and_then(|order| rfc3339(order.next_attempt)),
    }
}

/// Whether an Event about a condition is a warning.
pub(super) fn is_problem(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Issuing" | "RolledOut" => false,
        "Conflict" => condition.status == "True",
        _ => condition.status != "True",
    }
}

/// A challenge as the store has it.
#[derive(Deserialize)]
struct StoredChallenge {
    name: String,
    state: String,
    problem: Option<String>,
}

fn order_status(order: &StoredOrder) -> Option<OrderStatus> {
    if order.url.is_none() && order.problem.is_none() {
        return None;
    }
    let challenges: Vec<StoredChallenge> = serde_json::from_str(&order.challenges).unwrap_or_default();
    let challenge = |StoredChallenge { name, state, problem }| ChallengeStatus { name, state, problem };
    Some(OrderStatus {
        state: order.state.clone(),
        problem: order.problem.clone(),
        challenges: challenges.into_iter().map(challenge).collect(),
    })
}

/// The live relays of the Certificate's regions.
fn live_relays<'a>(
    certificate: &'a Certificate,
    observation: &'a CertificateObservation,
) -> impl Iterator<Item = &'a RelayStatus> {
    let regions = &certificate.spec.regions;
    let is_live = |relay: &&RelayStatus| observation.now.saturating_sub(relay.seen) < RELAY_ALIVE_SECONDS;
    let is_meant = |relay: &&RelayStatus| regions.is_empty() || regions.contains(&relay.region);
    observation.relays.iter().filter(is_live).filter(is_meant)
}

fn has_confirmed(relay: &RelayStatus, observation: &CertificateObservation) -> bool {
    observation.stored.as_ref().is_some_and(|stored| relay.served.contains(&stored.fingerprint))
}

/// The relays to probe: all live ones, once all have confirmed the certificate. Draining relays accept no new connections.
pub(super) fn relays_to_probe<'a>(
    certificate: &'a Certificate,
    observation: &'a CertificateObservation,
) -> Vec<&'a RelayStatus> {
    let mut relays = live_relays(certificate, observation);
    if !observation.is_current || !relays.all(|relay| has_confirmed(relay, observation)) {
        return Vec::new();
    }
    live_relays(certificate, observation).filter(|relay| !relay.draining).collect()
}

/// How many relays have confirmed the certificate, by region.
fn served_counts(certificate: &Certificate, observation: &CertificateObservation) -> ServedCounts {
    let mut counts: BTreeMap<&str, (i32, i32)> =
        certificate.spec.regions.iter().map(|region| (region.as_str(), (0, 0))).collect();
    for relay in live_relays(certificate, observation) {
        let count = counts.entry(&relay.region).or_default();
        count.0 += i32::from(has_confirmed(relay, observation));
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

/// The reason and the message of the last failure.
fn last_failure(observation: &CertificateObservation) -> Option<(String, String)> {
    let (reason, text) = observation.order.as_ref()?.problem.as_ref()?.split_once(": ")?;
    Some((reason.to_owned(), text.to_owned()))
}

fn readiness(observation: &CertificateObservation) -> ConditionValue {
    if let Some(blocked) = &observation.blocked {
        return blocked.into();
    }
    if let Some(NameConflict { owner, dns_name }) = &observation.conflict {
        let message = format!("spec.dnsNames: {dns_name:?} belongs to the older Certificate {owner}");
        return ConditionValue::no("Conflict", message);
    }
    let failure = last_failure(observation);
    match &observation.stored {
        Some(stored) if observation.is_current && stored.not_after > observation.now => {
            let until = certificate::rfc3339(stored.not_after);
            match failure {
                Some((_, text)) => {
                    let message =
                        format!("The certificate is valid until {until}; the renewal failed: {text}");
                    ConditionValue::yes("RenewalFailing", message)
                }
                None => ConditionValue::yes("Issued", format!("The certificate is valid until {until}")),
            }
        }
        stored => {
            let issuing = || ("Issuing".to_owned(), "The certificate is being issued".to_owned());
            let (reason, text) = failure.unwrap_or_else(issuing);
            match stored {
                Some(stored) if stored.not_after <= observation.now => {
                    let end = certificate::rfc3339(stored.not_after);
                    ConditionValue::no("Expired", format!("The certificate expired at {end}; {text}"))
                }
                Some(_) => ConditionValue::no(reason, format!("{text}; relays serve the certificate before")),
                None => ConditionValue::no(reason, text),
            }
        }
    }
}

fn issuing(observation: &CertificateObservation) -> ConditionValue {
    let issuing = || ConditionValue::yes("Issuing", "The certificate is being issued");
    if observation.is_attempting {
        return issuing();
    }
    let is_reported = |ahead: &i64| ahead.abs() > MAX_CLOCK_DIFFERENCE_SECONDS;
    if let Some(ahead) = observation.clock_ahead.filter(is_reported) {
        let (seconds, direction) = (ahead.abs(), if ahead > 0 { "behind" } else { "ahead of" });
        let message = format!("The operator's clock is {seconds} s {direction} the CA's; set it right");
        return ConditionValue::no("ClockSkewed", message);
    }
    match (last_failure(observation), &observation.order) {
        (Some((reason, text)), Some(order)) if order.next_attempt > observation.now => {
            let next = certificate::rfc3339(order.next_attempt);
            ConditionValue::no(reason, format!("{text}; the next attempt is at {next}"))
        }
        (Some((reason, text)), _) => ConditionValue::yes(reason, text),
        (None, _) if observation.is_current => {
            ConditionValue::no("UpToDate", "The certificate is not due for renewal")
        }
        (None, _) if observation.blocked.is_some() || observation.conflict.is_some() => {
            ConditionValue::no("Stopped", "The condition Ready says what has to be changed first")
        }
        (None, _) => issuing(),
    }
}

fn rolled_out(
    observation: &CertificateObservation,
    served: &ServedCounts,
    old: &CertificateStatus,
) -> ConditionValue {
    let Some(stored) = &observation.stored else {
        return ConditionValue::no("NotIssued", "There is no certificate yet");
    };
    let refused = observation.relays.iter().find_map(|relay| {
        let problem = relay.certificate_problem.as_ref()?;
        let is_about_it = problem.starts_with(&stored.names.join(", "));
        is_about_it.then(|| format!("Relay {} of {} refused it: {problem}", relay.relay, relay.region))
    });
    let sum = |sum: (i32, i32), region: &RegionServed| (sum.0 + region.served, sum.1 + region.relays);
    let (confirmed, all) = served.regions.iter().fold((0, 0), sum);
    match refused {
        Some(refused) => ConditionValue::no("RefusedByRelay", refused),
        None if all == 0 => ConditionValue::no("NoRelays", "The regions have no relays"),
        None if confirmed < all => {
            ConditionValue::no("RollingOut", format!("{confirmed} of {all} relays serve it"))
        }
        None if !observation.is_current => {
            ConditionValue::no("OutOfDate", "Relays serve the certificate of an earlier spec")
        }
        None => match &observation.probes {
            Some(probes) => verified(all, probes),
            None => not_yet_verified(all, stored, old),
        },
    }
}

/// All relays have confirmed the certificate, and were probed.
fn verified(all: i32, probes: &[ProbeResult]) -> ConditionValue {
    let mut not_probed = Vec::new();
    for ProbeResult { relay, outcome } in probes {
        match outcome {
            ProbeOutcome::Serves => {}
            ProbeOutcome::ServesOther(fingerprint) => {
                let message = format!(
                    "Relay {relay} has confirmed it and presents another one in a TLS handshake: fingerprint {fingerprint}"
                );
                return ConditionValue::no("ServedOtherwise", message);
            }
            ProbeOutcome::Refuses(why) => {
                let message = format!("Relay {relay} has confirmed it and does not serve it: {why}");
                return ConditionValue::no("NotServed", message);
            }
            ProbeOutcome::NotProbed(why) => not_probed.push(format!("{relay} ({why})")),
        }
    }
    let mut message =
        if all == 1 { "The only relay serves it".to_owned() } else { format!("All {all} relays serve it") };
    if !not_probed.is_empty() {
        let more = not_probed.len().saturating_sub(MAX_NAMED_RELAYS);
        not_probed.truncate(MAX_NAMED_RELAYS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = not_probed.join(", ");
        message.push_str(&format!("; not verified by a TLS handshake with {names}{more}"));
    }
    ConditionValue::yes("RolledOut", message)
}

/// All relays have confirmed the certificate, and were not probed yet. An earlier result for the same certificate holds until
/// then.
fn not_yet_verified(all: i32, stored: &StoredCertificate, old: &CertificateStatus) -> ConditionValue {
    let before = find_condition(&old.conditions, "RolledOut").filter(|before| before.status == "True");
    match before.filter(|_| old.fingerprint.as_ref() == Some(&stored.fingerprint)) {
        Some(before) => ConditionValue::yes("RolledOut", &before.message),
        None => {
            let message = if all == 1 {
                "The only relay has confirmed it; a TLS handshake will verify that".to_owned()
            } else {
                format!("All {all} relays have confirmed it; a TLS handshake with each will verify that")
            };
            ConditionValue::no("Verifying", message)
        }
    }
}

fn conflict(observation: &CertificateObservation) -> ConditionValue {
    match &observation.conflict {
        Some(NameConflict { owner, dns_name }) => {
            let message = format!("{dns_name:?} belongs to the older Certificate {owner}");
            ConditionValue::yes("NameTaken", message)
        }
        None => ConditionValue::no("NoConflict", "No other Certificate has these names"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
