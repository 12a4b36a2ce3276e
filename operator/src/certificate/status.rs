//! What is said of a Certificate. Pure: what was seen and what was said before give what is said now.

use super::request::Wrong;
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
        ("RolledOut", rolled_out(seen, &served)),
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

/// How many relays serve it, by region.
fn served(certificate: &Certificate, seen: &Seen) -> ServedCounts {
    let regions = &certificate.spec.regions;
    let live = seen.relays.iter().filter(|relay| seen.now.saturating_sub(relay.seen) < CONFIRM_SECONDS);
    let mut counts: BTreeMap<&str, (i32, i32)> =
        regions.iter().map(|region| (region.as_str(), (0, 0))).collect();
    for relay in live.filter(|relay| regions.is_empty() || regions.contains(&relay.region)) {
        let count = counts.entry(&relay.region).or_default();
        let has = seen.stored.as_ref().is_some_and(|stored| relay.served.contains(&stored.fingerprint));
        count.0 += i32::from(has);
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

fn rolled_out(seen: &Seen, served: &ServedCounts) -> Said {
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
        None => said("True", "RolledOut", format!("all {all} relays serve it")),
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
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_800_000_000;

    fn certificate(regions: &[&str]) -> Certificate {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Certificate",
            "metadata": {"name": "c", "generation": 3},
            "spec": {"dnsNames": ["a.example"], "regions": regions, "selfSigned": {}},
        }))
        .unwrap()
    }

    fn stored() -> StoredCertificate {
        StoredCertificate {
            id: "c".into(),
            names: vec!["a.example".into()],
            regions: vec![],
            chain: String::new(),
            fingerprint: "aa".into(),
            not_before: NOW - 10,
            not_after: NOW + 1000,
            revision: 2,
            issued_at: NOW,
            made_for: "x".into(),
        }
    }

    fn relay(region: &str, name: &str, served: &[&str]) -> RelaySeen {
        RelaySeen {
            region: region.into(),
            relay: name.parse().unwrap(),
            started: 0,
            seen: NOW - 5,
            suspensions_version: 0,
            config_revision: String::new(),
            config_refused: None,
            draining: false,
            sessions: 0,
            tunnels: 0,
            registry_up: true,
            challenges_version: 0,
            served: served.iter().map(|one| (*one).to_owned()).collect(),
            certificate_problem: None,
        }
    }

    fn good() -> Seen {
        let relays =
            vec![relay("eu", "a", &["aa"]), relay("eu", "b", &["bb", "aa"]), relay("us", "a", &["aa"])];
        Seen { stored: Some(stored()), is_current: true, relays, now: NOW, ..Seen::default() }
    }

    fn says(seen: &Seen, regions: &[&str], kind: &str) -> (String, String, String) {
        let status = status(&certificate(regions), seen, Timestamp::from_second(1).unwrap());
        let found = status.conditions.into_iter().find(|one| one.type_ == kind).unwrap();
        assert_eq!(found.observed_generation, Some(3));
        (found.status, found.reason, found.message)
    }

    fn short(seen: &Seen, kind: &str) -> (String, String) {
        let (status, reason, _) = says(seen, &[], kind);
        (status, reason)
    }

    fn pair(status: &str, reason: &str) -> (String, String) {
        (status.to_owned(), reason.to_owned())
    }

    #[test]
    fn a_certificate_that_all_relays_serve_is_rolled_out() {
        let seen = good();
        assert_eq!(short(&seen, "Ready"), pair("True", "Issued"));
        assert_eq!(short(&seen, "Issuing"), pair("False", "UpToDate"));
        assert_eq!(short(&seen, "RolledOut"), pair("True", "RolledOut"));
        assert_eq!(short(&seen, "Conflict"), pair("False", "NoConflict"));
        let served = status(&certificate(&["us", "asia"]), &seen, Timestamp::UNIX_EPOCH).served;
        assert_eq!(served.summary, "1/1");
        let regions: Vec<_> =
            served.regions.iter().map(|one| (&*one.region, one.served, one.relays)).collect();
        assert_eq!(regions, [("asia", 0, 0), ("us", 1, 1)]);
    }

    #[test]
    fn one_relay_that_does_not_serve_it_counts_unless_it_is_gone() {
        let mut seen = good();
        seen.relays[1].served = vec!["bb".into()];
        assert_eq!(says(&seen, &[], "RolledOut").2, "2 of 3 relays serve it");
        assert_eq!(short(&seen, "RolledOut"), pair("False", "RollingOut"));
        seen.relays[1].certificate_problem = Some("a.example: ended".into());
        assert_eq!(short(&seen, "RolledOut"), pair("False", "RefusedByRelay"));
        seen.relays[1].certificate_problem = None;
        seen.relays[1].seen = NOW - CONFIRM_SECONDS;
        assert_eq!(short(&seen, "RolledOut"), pair("True", "RolledOut"));
        seen.relays.clear();
        assert_eq!(short(&seen, "RolledOut"), pair("False", "NoRelays"));
    }

    #[test]
    fn a_failure_is_told_in_the_ca_s_words_and_a_good_certificate_stays_ready() {
        let failed = StoredOrder {
            failures: 2,
            next_attempt: NOW + 600,
            problem: Some("RateLimited: rateLimited: too many certificates".into()),
            challenges: json!([{"name": "a.example", "state": "invalid", "problem": "dns: SERVFAIL"}])
                .to_string(),
            ..StoredOrder::default()
        };
        let seen = Seen { order: Some(failed), ..good() };
        assert_eq!(short(&seen, "Ready"), pair("True", "RenewalFailing"));
        let (status_, reason, message) = says(&seen, &[], "Issuing");
        assert_eq!((&*status_, &*reason), ("False", "RateLimited"));
        assert!(message.contains("too many certificates; the next attempt is at 2027-"), "{message}");
        let whole = status(&certificate(&[]), &seen, Timestamp::UNIX_EPOCH);
        assert_eq!(whole.failed_attempts, 2);
        assert!(whole.next_attempt.is_some());
        assert_eq!(whole.order.unwrap().challenges[0].problem.as_deref(), Some("dns: SERVFAIL"));
        let none = Seen { stored: None, is_current: false, ..seen };
        assert_eq!(short(&none, "Ready"), pair("False", "RateLimited"));
        assert_eq!(short(&none, "RolledOut"), pair("False", "NotIssued"));
    }

    #[test]
    fn what_is_wrong_or_taken_is_said_and_what_is_served_stays() {
        let wrong = Some(Wrong::new("SecretNotFound", "spec.secretRef: no Secret"));
        let seen = Seen { wrong, is_current: false, ..good() };
        assert_eq!(short(&seen, "Ready"), pair("False", "SecretNotFound"));
        let seen = Seen { conflict: Some(("x/y".into(), "a.example".into())), stored: None, ..good() };
        assert_eq!(short(&seen, "Ready"), pair("False", "Conflict"));
        assert_eq!(short(&seen, "Conflict"), pair("True", "NameTaken"));
    }

    #[test]
    fn an_ended_certificate_is_not_ready_and_a_wrong_clock_is_named() {
        let seen = Seen { now: NOW + 1000, ..good() };
        assert_eq!(short(&seen, "Ready"), pair("False", "Expired"));
        let seen = Seen { clock_ahead: Some(-86_400), ..good() };
        assert_eq!(short(&seen, "Issuing"), pair("False", "ClockSkewed"));
        assert!(says(&seen, &[], "Issuing").2.contains("86400 s ahead of the CA's"));
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut found = certificate(&[]);
        found.status = Some(status(&found, &good(), Timestamp::from_second(1).unwrap()));
        let again = status(&found, &good(), Timestamp::from_second(9).unwrap());
        assert_eq!(Some(again), found.status);
    }
}
