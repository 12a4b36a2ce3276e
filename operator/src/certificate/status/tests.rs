//! What is said of what was seen.

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

fn asked(who: &str, answer: Answer) -> Asked {
    Asked { who: who.to_owned(), answer }
}

fn good() -> Seen {
    let relays = vec![relay("eu", "a", &["aa"]), relay("eu", "b", &["bb", "aa"]), relay("us", "a", &["aa"])];
    let asked = ["a of eu", "a of us", "b of eu"].map(|who| asked(who, Answer::Serves)).to_vec();
    let (stored, asked) = (Some(stored()), Some(asked));
    Seen { stored, is_current: true, relays, asked, now: NOW, ..Seen::default() }
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
    let regions: Vec<_> = served.regions.iter().map(|one| (&*one.region, one.served, one.relays)).collect();
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
fn a_relay_s_word_does_not_count_against_what_it_shows() {
    let with = |answer: Answer| {
        let mut seen = good();
        seen.asked.as_mut().unwrap()[1].answer = answer;
        seen
    };
    let (status_, reason, message) = says(&with(Answer::Other("bb".into())), &[], "RolledOut");
    assert_eq!((&*status_, &*reason), ("False", "ServedOtherwise"));
    assert!(message.starts_with("relay a of us has confirmed it, and shows another one"), "{message}");
    assert!(message.ends_with("fingerprint bb"), "{message}");
    let refuses = with(Answer::Refuses("access denied".into()));
    assert_eq!(short(&refuses, "RolledOut"), pair("False", "NotServed"));
    // Who cannot be asked is believed, and named.
    let (status_, reason, message) = says(&with(Answer::Unasked("no pod".into())), &[], "RolledOut");
    assert_eq!((&*status_, &*reason), ("True", "RolledOut"));
    assert!(message.ends_with("could not be asked by TLS: a of us (no pod)"), "{message}");
    let mut all = with(Answer::Serves);
    all.asked = Some((0..7).map(|n| asked(&n.to_string(), Answer::Unasked("x".into()))).collect());
    assert!(says(&all, &[], "RolledOut").2.ends_with("4 (x) and 2 more"));
}

#[test]
fn relays_are_asked_once_all_have_confirmed_and_until_then_what_was_found_stands() {
    let mut seen = good();
    seen.asked = None;
    assert_eq!(short(&seen, "RolledOut"), pair("False", "Asking"));
    let mut found = certificate(&[]);
    assert_eq!(to_be_asked(&found, &seen).len(), 3);
    found.status = Some(status(&found, &good(), Timestamp::UNIX_EPOCH));
    let mut before = found.status.clone().unwrap();
    before.fingerprint = Some("aa".into());
    found.status = Some(before.clone());
    let said = |found: &Certificate| {
        let said = status(found, &seen, Timestamp::UNIX_EPOCH).conditions;
        said.into_iter().find(|one| one.type_ == "RolledOut").unwrap().status
    };
    assert_eq!(said(&found), "True");
    before.fingerprint = Some("bb".into());
    found.status = Some(before);
    assert_eq!(said(&found), "False", "that was another certificate");
    seen.relays[0].draining = true;
    assert_eq!(to_be_asked(&found, &seen).len(), 2, "one that is going is not asked");
    seen.relays[1].served.clear();
    assert!(to_be_asked(&found, &seen).is_empty(), "one has not confirmed it");
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
