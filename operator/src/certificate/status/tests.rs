//! Tests of the status of Certificates.

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

fn relay(region: &str, name: &str, served: &[&str]) -> RelayStatus {
    RelayStatus {
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

fn probe(relay: &str, outcome: ProbeOutcome) -> ProbeResult {
    ProbeResult { relay: relay.to_owned(), outcome }
}

fn good() -> CertificateObservation {
    let relays = vec![relay("eu", "a", &["aa"]), relay("eu", "b", &["bb", "aa"]), relay("us", "a", &["aa"])];
    let probes = ["a of eu", "a of us", "b of eu"].map(|relay| probe(relay, ProbeOutcome::Serves)).to_vec();
    let (stored, probes) = (Some(stored()), Some(probes));
    CertificateObservation { stored, is_current: true, relays, probes, now: NOW, ..Default::default() }
}

fn value(observation: &CertificateObservation, regions: &[&str], kind: &str) -> (String, String, String) {
    let status = status(&certificate(regions), observation, Timestamp::from_second(1).unwrap());
    let found = status.conditions.into_iter().find(|one| one.type_ == kind).unwrap();
    assert_eq!(found.observed_generation, Some(3));
    (found.status, found.reason, found.message)
}

fn short(observation: &CertificateObservation, kind: &str) -> (String, String) {
    let (status, reason, _) = value(observation, &[], kind);
    (status, reason)
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_certificate_that_all_relays_serve_is_rolled_out() {
    let observation = good();
    assert_eq!(short(&observation, "Ready"), pair("True", "Issued"));
    assert_eq!(short(&observation, "Issuing"), pair("False", "UpToDate"));
    assert_eq!(short(&observation, "RolledOut"), pair("True", "RolledOut"));
    assert_eq!(short(&observation, "Conflict"), pair("False", "NoConflict"));
    let served = status(&certificate(&["us", "asia"]), &observation, Timestamp::UNIX_EPOCH).served;
    assert_eq!(served.summary, "1/1");
    let regions: Vec<_> = served.regions.iter().map(|one| (&*one.region, one.served, one.relays)).collect();
    assert_eq!(regions, [("asia", 0, 0), ("us", 1, 1)]);
}

#[test]
fn a_live_relay_that_does_not_serve_it_counts() {
    let mut observation = good();
    observation.relays[1].served = vec!["bb".into()];
    assert_eq!(value(&observation, &[], "RolledOut").2, "2 of 3 relays serve it");
    assert_eq!(short(&observation, "RolledOut"), pair("False", "RollingOut"));
    observation.relays[1].certificate_problem = Some("a.example: ended".into());
    assert_eq!(short(&observation, "RolledOut"), pair("False", "RefusedByRelay"));
    observation.relays[1].certificate_problem = None;
    observation.relays[1].seen = NOW - RELAY_ALIVE_SECONDS;
    assert_eq!(short(&observation, "RolledOut"), pair("True", "RolledOut"));
    observation.relays.clear();
    assert_eq!(short(&observation, "RolledOut"), pair("False", "NoRelays"));
}

#[test]
fn a_handshake_counts_more_than_a_relay_s_report() {
    let with = |outcome: ProbeOutcome| {
        let mut observation = good();
        observation.probes.as_mut().unwrap()[1].outcome = outcome;
        observation
    };
    let (status_, reason, message) = value(&with(ProbeOutcome::ServesOther("bb".into())), &[], "RolledOut");
    assert_eq!((&*status_, &*reason), ("False", "ServedOtherwise"));
    assert!(message.starts_with("Relay a of us has confirmed it and presents another one"), "{message}");
    assert!(message.ends_with("fingerprint bb"), "{message}");
    let refuses = with(ProbeOutcome::Refuses("access denied".into()));
    assert_eq!(short(&refuses, "RolledOut"), pair("False", "NotServed"));
    // A relay that cannot be probed counts as confirmed, and is named.
    let (status_, reason, message) = value(&with(ProbeOutcome::NotProbed("no pod".into())), &[], "RolledOut");
    assert_eq!((&*status_, &*reason), ("True", "RolledOut"));
    assert!(message.ends_with("not verified by a TLS handshake with a of us (no pod)"), "{message}");
    let mut all = with(ProbeOutcome::Serves);
    all.probes = Some((0..7).map(|n| probe(&n.to_string(), ProbeOutcome::NotProbed("x".into()))).collect());
    assert!(value(&all, &[], "RolledOut").2.ends_with("4 (x) and 2 more"));
}

#[test]
fn relays_are_probed_once_all_have_confirmed() {
    let mut observation = good();
    observation.probes = None;
    assert_eq!(short(&observation, "RolledOut"), pair("False", "Verifying"));
    let mut found = certificate(&[]);
    assert_eq!(relays_to_probe(&found, &observation).len(), 3);
    found.status = Some(status(&found, &good(), Timestamp::UNIX_EPOCH));
    let mut before = found.status.clone().unwrap();
    before.fingerprint = Some("aa".into());
    found.status = Some(before.clone());
    let rolled_out = |found: &Certificate| {
        let conditions = status(found, &observation, Timestamp::UNIX_EPOCH).conditions;
        conditions.into_iter().find(|one| one.type_ == "RolledOut").unwrap().status
    };
    assert_eq!(rolled_out(&found), "True");
    before.fingerprint = Some("bb".into());
    found.status = Some(before);
    assert_eq!(rolled_out(&found), "False", "the result before is of another certificate");
    observation.relays[0].draining = true;
    assert_eq!(relays_to_probe(&found, &observation).len(), 2, "a draining relay is not probed");
    observation.relays[1].served.clear();
    assert!(relays_to_probe(&found, &observation).is_empty(), "one relay has not confirmed it");
}

#[test]
fn a_failed_renewal_is_reported_while_ready_stays_true() {
    let failed = StoredOrder {
        failures: 2,
        next_attempt: NOW + 600,
        problem: Some("RateLimited: rateLimited: too many certificates".into()),
        challenges: json!([{"name": "a.example", "state": "invalid", "problem": "dns: SERVFAIL"}])
            .to_string(),
        ..StoredOrder::default()
    };
    let observation = CertificateObservation { order: Some(failed), ..good() };
    assert_eq!(short(&observation, "Ready"), pair("True", "RenewalFailing"));
    let (status_, reason, message) = value(&observation, &[], "Issuing");
    assert_eq!((&*status_, &*reason), ("False", "RateLimited"));
    assert!(message.contains("too many certificates; the next attempt is at 2027-"), "{message}");
    let whole = status(&certificate(&[]), &observation, Timestamp::UNIX_EPOCH);
    assert_eq!(whole.failed_attempts, 2);
    assert!(whole.next_attempt.is_some());
    assert_eq!(whole.order.unwrap().challenges[0].problem.as_deref(), Some("dns: SERVFAIL"));
    let none = CertificateObservation { stored: None, is_current: false, ..observation };
    assert_eq!(short(&none, "Ready"), pair("False", "RateLimited"));
    assert_eq!(short(&none, "RolledOut"), pair("False", "NotIssued"));
}

#[test]
fn mistakes_and_conflicts_are_reported() {
    let blocked = Some(Blocked::new("SecretNotFound", "spec.secretRef: no Secret"));
    let observation = CertificateObservation { blocked, is_current: false, ..good() };
    assert_eq!(short(&observation, "Ready"), pair("False", "SecretNotFound"));
    let observation = CertificateObservation {
        conflict: Some(NameConflict { owner: NamespacedName::new("x", "y"), dns_name: "a.example".into() }),
        stored: None,
        ..good()
    };
    assert_eq!(short(&observation, "Ready"), pair("False", "Conflict"));
    assert_eq!(short(&observation, "Conflict"), pair("True", "NameTaken"));
}

#[test]
fn an_expired_certificate_and_a_wrong_clock_are_reported() {
    let observation = CertificateObservation { now: NOW + 1000, ..good() };
    assert_eq!(short(&observation, "Ready"), pair("False", "Expired"));
    let observation = CertificateObservation { clock_ahead: Some(-86_400), ..good() };
    assert_eq!(short(&observation, "Issuing"), pair("False", "ClockSkewed"));
    assert!(value(&observation, &[], "Issuing").2.contains("86400 s ahead of the CA's"));
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let mut found = certificate(&[]);
    found.status = Some(status(&found, &good(), Timestamp::from_second(1).unwrap()));
    let again = status(&found, &good(), Timestamp::from_second(9).unwrap());
    assert_eq!(Some(again), found.status);
}
