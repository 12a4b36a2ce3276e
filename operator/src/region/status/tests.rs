//! What is said, and when it is said again.

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

fn report(revision: &str) -> Report {
    Report { revision: revision.to_owned(), registry_up: true, ..Report::default() }
}

fn serving() -> Observed {
    Observed {
        deployment: Some(DeploymentSeen {
            is_observed: true,
            wanted: 2,
            replicas: 2,
            ready: 2,
            updated: 2,
            stuck: None,
            image: Some("relay:1".to_owned()),
        }),
        reports: vec![report("r1"), report("r1")],
        store: State::Good,
        registry: State::Good,
        revision: Some("r1".to_owned()),
        ..Observed::default()
    }
}

fn word<'a>(status: &'a RegionStatus, kind: &str) -> (&'a str, &'a str) {
    let condition = status.condition(kind).unwrap();
    (&condition.status, &condition.reason)
}

#[test]
fn a_region_that_serves_is_ready_and_says_that_its_certificate_is_a_development_one() {
    let status = status(&region(), &serving(), at(0));
    assert_eq!(word(&status, "Ready"), ("True", "Serving"));
    assert_eq!(word(&status, "RelaysAvailable"), ("True", "AllReady"));
    assert_eq!(word(&status, "CertificateServed"), ("False", "DevelopmentCertificate"));
    assert_eq!(word(&status, "RegistryReachable"), ("True", "Reachable"));
    assert_eq!(word(&status, "StoreReachable"), ("True", "Reachable"));
    assert_eq!(word(&status, "Progressing"), ("False", "Done"));
    assert_eq!((status.relays.summary.as_str(), status.observed_generation), ("2/2", Some(3)));
    assert_eq!(status.config_revision.unwrap().summary, "2/2");
    assert_eq!(status.selector.as_deref(), Some("adit.dev/region=eu,app.kubernetes.io/component=relay"));
}

#[test]
fn every_reason_has_its_words() {
    let seen = |change: fn(&mut Observed)| {
        let mut observed = serving();
        change(&mut observed);
        status(&region(), &observed, at(0))
    };
    let one = seen(|observed| observed.deployment.as_mut().unwrap().ready = 1);
    assert_eq!(word(&one, "Ready"), ("False", "NotReady"));
    let stuck = seen(|observed| {
        let deployment = observed.deployment.as_mut().unwrap();
        (deployment.ready, deployment.stuck) = (1, Some("no image".to_owned()));
    });
    assert_eq!(stuck.condition("Ready").unwrap().message, "1 of 2 relays are ready: no image");
    let unseen = seen(|observed| observed.deployment.as_mut().unwrap().is_observed = false);
    assert_eq!(word(&unseen, "Ready"), ("False", "NotReady"), "the numbers are those of the spec before");
    let missing = seen(|observed| {
        observed.deployment = None;
        observed.store = State::Bad { reason: "SecretNotFound", message: "no Secret".to_owned() };
    });
    assert_eq!(word(&missing, "Ready"), ("False", "SecretNotFound"));
    assert_eq!(word(&missing, "StoreReachable"), ("False", "SecretNotFound"));
    let away = seen(|observed| {
        observed.store = State::Bad { reason: "ConnectFailed", message: "refused".to_owned() }
    });
    assert_eq!(word(&away, "Ready"), ("True", "Serving"), "traffic goes on");
    let registry = seen(|observed| observed.reports[1].registry_up = false);
    assert_eq!(word(&registry, "RegistryReachable"), ("False", "Unreachable"));
    let rolling = seen(|observed| observed.deployment.as_mut().unwrap().updated = 1);
    assert_eq!(
        (word(&rolling, "Ready"), word(&rolling, "Progressing")),
        (("True", "Serving"), ("True", "RollingOut"))
    );
    let behind = seen(|observed| observed.reports[0].revision = "r0".to_owned());
    assert_eq!(word(&behind, "Progressing"), ("True", "Configuring"));
    assert_eq!(behind.config_revision.unwrap().summary, "1/2");
    let refused = seen(|observed| observed.reports[0].refused = Some("limits: bad".to_owned()));
    assert_eq!(word(&refused, "Progressing"), ("False", "ConfigurationRefused"));
    let invalid = seen(|observed| observed.stopped = Some(("InvalidSpec", "spec.limits".to_owned())));
    assert_eq!(word(&invalid, "Ready"), ("False", "InvalidSpec"));
    let mut suspended = region();
    suspended.spec.suspended = true;
    assert_eq!(word(&status(&suspended, &serving(), at(0)), "Ready"), ("False", "Suspended"));
}

#[test]
fn the_served_certificate_is_named_and_its_end_goes_before_the_development_one_s() {
    let wanted = |called: &str, fingerprint: &str, second: u64| Wanted {
        called: called.to_owned(),
        fingerprint: fingerprint.to_owned(),
        not_after: 1_800_000_000 + second,
    };
    let mut region = region();
    let mut observed = Observed { not_after: Some("development".to_owned()), ..serving() };
    observed.certificates = Some(vec![wanted("t/late", "aa", 200), wanted("t/early", "bb", 100)]);
    let said = status(&region, &observed, at(0));
    assert_eq!(word(&said, "CertificateServed"), ("False", "RollingOut"), "none serves them yet");
    assert_eq!(said.not_after.as_deref(), Some("development"));
    observed.reports[0].served = vec!["aa".to_owned(), "bb".to_owned()];
    observed.reports[1].served = vec!["aa".to_owned()];
    let said = status(&region, &observed, at(0));
    assert!(
        said.condition("CertificateServed")
            .unwrap()
            .message
            .starts_with("1 of 2 relays serve Certificate t/early,")
    );
    observed.reports[1].served.push("bb".to_owned());
    let said = status(&region, &observed, at(0));
    assert_eq!(word(&said, "CertificateServed"), ("True", "Served"));
    assert_eq!(
        said.condition("CertificateServed").unwrap().message,
        "every relay serves Certificate t/early, which ends at 2027-01-15T08:01:40Z; \
         Certificate t/late, which ends at 2027-01-15T08:03:20Z"
    );
    assert_eq!(said.not_after.as_deref(), Some("2027-01-15T08:01:40Z"));

    // The store is away, or has just got another one: what is served still is.
    region.status = Some(said);
    for unknown in [None, Some(vec![wanted("t/new", "cc", 900)])] {
        observed.certificates = unknown;
        assert_eq!(status(&region, &observed, at(1)).not_after.as_deref(), Some("2027-01-15T08:01:40Z"));
    }
    observed.certificates = Some((0..5).map(|n| wanted(&format!("t/{n}"), "aa", n)).collect());
    let said = status(&region, &observed, at(2));
    assert!(said.condition("CertificateServed").unwrap().message.ends_with("; and 2 more"));
}

#[test]
fn a_draining_relay_is_counted_apart() {
    let mut observed = serving();
    observed.reports.push(Report { draining: true, ..report("r0") });
    let status = status(&region(), &observed, at(0));
    assert_eq!((status.relays.draining, status.config_revision.unwrap().summary.as_str()), (1, "2/2"));
}

#[test]
fn counts_are_written_once_a_minute_on_a_change_of_a_tenth() {
    let mut region = region();
    let mut say = |sessions: u32, second: i64| {
        let mut observed = serving();
        observed.reports[0].sessions = sessions;
        let status = status(&region, &observed, at(second));
        region.status = Some(status.clone());
        status.sessions.unwrap()
    };
    assert_eq!(
        [say(100, 0), say(200, 59), say(200, 60), say(219, 200), say(221, 201), say(0, 300)],
        [100, 100, 200, 200, 221, 0]
    );
}

proptest! {
    #[test]
    fn what_has_been_said_is_not_said_again(
        wanted in 0..4, ready in 0..4, updated in 0..4, reports in 0_usize..4, sessions in 0_u32..1000, second in 0_i64..100_000,
    ) {
        let mut region = region();
        let observed = Observed {
            deployment: Some(DeploymentSeen { is_observed: true, wanted, ready, updated, ..DeploymentSeen::default() }),
            reports: vec![Report { sessions, ..report("r") }; reports],
            revision: Some("r".to_owned()),
            ..Observed::default()
        };
        let first = status(&region, &observed, at(0));
        region.status = Some(first.clone());
        let second = status(&region, &observed, at(second));
        prop_assert_eq!(first, second);
    }

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_change(ready in 0..4, second in 1_i64..1000) {
        let mut region = region();
        region.status = Some(status(&region, &serving(), at(0)));
        let mut observed = serving();
        observed.deployment.as_mut().unwrap().ready = ready;
        let now = status(&region, &observed, at(second));
        for condition in &now.conditions {
            let before = region.status.as_ref().unwrap().condition(&condition.type_).unwrap();
            let same = before.status == condition.status;
            let expected = if same { before.last_transition_time.clone() } else { Time(at(second)) };
            prop_assert_eq!(&condition.last_transition_time, &expected);
        }
    }
}
