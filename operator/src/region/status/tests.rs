//! Tests of the status of Regions.

use super::*;
use proptest::prelude::*;

fn region() -> Region {
    let spec = serde_json::json!({
        "domain": "eu.example.com", "store": {"relaySecretRef": {"name": "store", "key": "url"}},
    });
    let mut region = Region::new("eu", serde_json::from_value(spec).unwrap());
    region.metadata.generation = Some(3);
    region
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn report(revision: &str) -> RelayReport {
    RelayReport { revision: revision.to_owned(), is_registry_up: true, ..RelayReport::default() }
}

fn serving() -> RegionObservation {
    RegionObservation {
        deployment: Some(DeploymentState {
            is_observed: true,
            desired: 2,
            replicas: 2,
            ready: 2,
            updated: 2,
            problem: None,
            image: Some("relay:1".to_owned()),
        }),
        reports: vec![report("r1"), report("r1")],
        store: Reachability::Reachable,
        registry: Reachability::Reachable,
        revision: Some("r1".to_owned()),
        ..RegionObservation::default()
    }
}

fn value<'a>(status: &'a RegionStatus, kind: &str) -> (&'a str, &'a str) {
    let condition = status.condition(kind).unwrap();
    (&condition.status, &condition.reason)
}

#[test]
fn a_serving_region_is_ready_with_a_development_certificate() {
    let status = status(&region(), &serving(), at(0));
    assert_eq!(value(&status, "Ready"), ("True", "Serving"));
    assert_eq!(value(&status, "RelaysAvailable"), ("True", "AllReady"));
    assert_eq!(value(&status, "CertificateServed"), ("False", "DevelopmentCertificate"));
    assert_eq!(value(&status, "RegistryReachable"), ("True", "Reachable"));
    assert_eq!(value(&status, "StoreReachable"), ("True", "Reachable"));
    assert_eq!(value(&status, "Progressing"), ("False", "Done"));
    assert_eq!((status.relays.summary.as_str(), status.observed_generation), ("2/2", Some(3)));
    assert_eq!(status.config_revision.unwrap().summary, "2/2");
    assert_eq!(status.selector.as_deref(), Some("adit.dev/region=eu,app.kubernetes.io/component=relay"));
}

#[test]
fn every_state_has_its_reason() {
    let changed = |change: fn(&mut RegionObservation)| {
        let mut observation = serving();
        change(&mut observation);
        status(&region(), &observation, at(0))
    };
    let one = changed(|observation| observation.deployment.as_mut().unwrap().ready = 1);
    assert_eq!(value(&one, "Ready"), ("False", "NotReady"));
    let stuck = changed(|observation| {
        let deployment = observation.deployment.as_mut().unwrap();
        (deployment.ready, deployment.problem) = (1, Some("no image".to_owned()));
    });
    assert_eq!(stuck.condition("Ready").unwrap().message, "1 of 2 relays are ready: no image");
    let unseen = changed(|observation| observation.deployment.as_mut().unwrap().is_observed = false);
    assert_eq!(value(&unseen, "Ready"), ("False", "NotReady"), "the numbers are those of the spec before");
    let missing = changed(|observation| {
        observation.deployment = None;
        observation.store =
            Reachability::Unreachable { reason: "SecretNotFound", message: "no Secret".to_owned() };
    });
    assert_eq!(value(&missing, "Ready"), ("False", "SecretNotFound"));
    assert_eq!(value(&missing, "StoreReachable"), ("False", "SecretNotFound"));
    let away = changed(|observation| {
        observation.store =
            Reachability::Unreachable { reason: "ConnectFailed", message: "refused".to_owned() }
    });
    assert_eq!(value(&away, "Ready"), ("True", "Serving"), "relays work on");
    let registry = changed(|observation| observation.reports[1].is_registry_up = false);
    assert_eq!(value(&registry, "RegistryReachable"), ("False", "Unreachable"));
    let rolling = changed(|observation| observation.deployment.as_mut().unwrap().updated = 1);
    assert_eq!(
        (value(&rolling, "Ready"), value(&rolling, "Progressing")),
        (("True", "Serving"), ("True", "RollingOut"))
    );
    let behind = changed(|observation| observation.reports[0].revision = "r0".to_owned());
    assert_eq!(value(&behind, "Progressing"), ("True", "Configuring"));
    assert_eq!(behind.config_revision.unwrap().summary, "1/2");
    let refused = changed(|observation| observation.reports[0].refused = Some("limits: bad".to_owned()));
    assert_eq!(value(&refused, "Progressing"), ("False", "ConfigurationRefused"));
    let invalid = changed(|observation| {
        observation.blocked = Some(Blocked { reason: "InvalidSpec", message: "spec.limits".to_owned() });
    });
    assert_eq!(value(&invalid, "Ready"), ("False", "InvalidSpec"));
    let mut suspended = region();
    suspended.spec.suspended = true;
    assert_eq!(value(&status(&suspended, &serving(), at(0)), "Ready"), ("False", "Suspended"));
}

#[test]
fn the_served_certificate_is_named_with_its_expiry() {
    let expected = |name: &str, fingerprint: &str, second: u64| ExpectedCertificate {
        name: name.to_owned(),
        fingerprint: fingerprint.to_owned(),
        not_after: 1_800_000_000 + second,
    };
    let mut region = region();
    let mut observation = RegionObservation { not_after: Some("development".to_owned()), ..serving() };
    observation.certificates = Some(vec![expected("t/late", "aa", 200), expected("t/early", "bb", 100)]);
    let new = status(&region, &observation, at(0));
    assert_eq!(value(&new, "CertificateServed"), ("False", "RollingOut"), "none serves them yet");
    assert_eq!(new.not_after.as_deref(), Some("development"));
    observation.reports[0].served = vec!["aa".to_owned(), "bb".to_owned()];
    observation.reports[1].served = vec!["aa".to_owned()];
    let new = status(&region, &observation, at(0));
    assert!(
        new.condition("CertificateServed")
            .unwrap()
            .message
            .starts_with("1 of 2 relays serve Certificate t/early,")
    );
    observation.reports[1].served.push("bb".to_owned());
    let new = status(&region, &observation, at(0));
    assert_eq!(value(&new, "CertificateServed"), ("True", "Served"));
    assert_eq!(
        new.condition("CertificateServed").unwrap().message,
        "Every relay serves Certificate t/early, which expires at 2027-01-15T08:01:40Z; \
         Certificate t/late, which expires at 2027-01-15T08:03:20Z"
    );
    assert_eq!(new.not_after.as_deref(), Some("2027-01-15T08:01:40Z"));

    // The store is away, or has just got another one: what is served still is.
    region.status = Some(new);
    for unknown in [None, Some(vec![expected("t/new", "cc", 900)])] {
        observation.certificates = unknown;
        assert_eq!(status(&region, &observation, at(1)).not_after.as_deref(), Some("2027-01-15T08:01:40Z"));
    }
    observation.certificates = Some((0..5).map(|n| expected(&format!("t/{n}"), "aa", n)).collect());
    let new = status(&region, &observation, at(2));
    assert!(new.condition("CertificateServed").unwrap().message.ends_with("; and 2 more"));
}

#[test]
fn ready_relays_that_have_not_reported_count_as_unconfirmed() {
    let observation = RegionObservation { reports: vec![report("r1")], ..serving() };
    let status = status(&region(), &observation, at(0));
    assert_eq!(value(&status, "Ready"), ("True", "Serving"));
    assert_eq!(value(&status, "Progressing"), ("True", "Configuring"));
    assert_eq!(status.config_revision.unwrap().summary, "1/2");
    let observation = RegionObservation { reports: vec![], ..serving() };
    assert_eq!(super::status(&region(), &observation, at(0)).config_revision.unwrap().summary, "0/2");
}

#[test]
fn a_draining_relay_is_counted_separately() {
    let mut observation = serving();
    observation.reports.push(RelayReport { is_draining: true, ..report("r0") });
    let status = status(&region(), &observation, at(0));
    assert_eq!((status.relays.draining, status.config_revision.unwrap().summary.as_str()), (1, "2/2"));
}

#[test]
fn counts_are_written_once_a_minute_on_a_change_of_a_tenth() {
    let mut region = region();
    let mut write = |sessions: u32, second: i64| {
        let mut observation = serving();
        observation.reports[0].sessions = sessions;
        let status = status(&region, &observation, at(second));
        region.status = Some(status.clone());
        status.sessions.unwrap()
    };
    assert_eq!(
        [write(100, 0), write(200, 59), write(200, 60), write(219, 200), write(221, 201), write(0, 300)],
        [100, 100, 200, 200, 221, 0]
    );
}

proptest! {
    #[test]
    fn an_unchanged_observation_gives_the_same_status(
        desired in 0..4, ready in 0..4, updated in 0..4, reports in 0_usize..4, sessions in 0_u32..1000, second in 0_i64..100_000,
    ) {
        let mut region = region();
        let observation = RegionObservation {
            deployment: Some(DeploymentState { is_observed: true, desired, ready, updated, ..DeploymentState::default() }),
            reports: vec![RelayReport { sessions, ..report("r") }; reports],
            revision: Some("r".to_owned()),
            ..RegionObservation::default()
        };
        let first = status(&region, &observation, at(0));
        region.status = Some(first.clone());
        let second = status(&region, &observation, at(second));
        prop_assert_eq!(first, second);
    }

    #[test]
    fn a_condition_keeps_the_time_of_its_last_change(ready in 0..4, second in 1_i64..1000) {
        let mut region = region();
        region.status = Some(status(&region, &serving(), at(0)));
        let mut observation = serving();
        observation.deployment.as_mut().unwrap().ready = ready;
        let now = status(&region, &observation, at(second));
        for condition in &now.conditions {
            let before = region.status.as_ref().unwrap().condition(&condition.type_).unwrap();
            let same = before.status == condition.status;
            let expected = if same { before.last_transition_time.clone() } else { Time(at(second)) };
            prop_assert_eq!(&condition.last_transition_time, &expected);
        }
    }
}
