use super::*;
use proptest::prelude::*;

const DAY: u64 = 86_400;
const NOW: u64 = 1_800_000_000;

fn certificate(issued: u64, days: u64) -> StoredCertificate {
    StoredCertificate {
        id: "c".into(),
        names: vec!["a.example".into()],
        regions: vec![],
        chain: String::new(),
        fingerprint: "f".into(),
        not_before: issued - 3600,
        not_after: issued - 3600 + days * DAY,
        revision: 1,
        issued_at: issued,
        made_for: "x".into(),
    }
}

fn situation<'a>(
    stored: Option<&'a StoredCertificate>,
    order: Option<&'a StoredOrder>,
    now: u64,
) -> Situation<'a> {
    Situation { made_for: "x", renew_before: None, forced: false, stored, order, names_allowed_at: 0, now }
}

/// The CA has been asked when to renew, and need not be asked again.
fn asked() -> StoredOrder {
    StoredOrder { made_for: "x".into(), renewal_asked: u64::MAX, ..StoredOrder::default() }
}

#[test]
fn what_is_not_there_or_was_made_for_something_else_is_issued() {
    assert_eq!(decide(&situation(None, None, NOW)), Step::Issue { renewal: false });
    let other = StoredCertificate { made_for: "y".into(), ..certificate(NOW, 90) };
    assert_eq!(decide(&situation(Some(&other), None, NOW)), Step::Issue { renewal: false });
}

#[test]
fn ninety_days_are_renewed_after_sixty_and_six_after_three() {
    let order = asked();
    let long = certificate(NOW, 90);
    let until = NOW - 3600 + 60 * DAY;
    assert_eq!(decide(&situation(Some(&long), Some(&order), NOW)), Step::Keep { until });
    assert_eq!(decide(&situation(Some(&long), Some(&order), until)), Step::Issue { renewal: true });
    let short = certificate(NOW, 6);
    assert_eq!(
        decide(&situation(Some(&short), Some(&order), NOW)),
        Step::Keep { until: NOW - 3600 + 3 * DAY }
    );
}

#[test]
fn the_ca_s_suggestion_goes_first() {
    let stored = certificate(NOW, 90);
    let order = StoredOrder { renewal_at: Some(NOW + 5 * DAY), ..asked() };
    assert_eq!(decide(&situation(Some(&stored), Some(&order), NOW)), Step::Keep { until: NOW + 5 * DAY });
    let now = NOW + 5 * DAY;
    assert_eq!(decide(&situation(Some(&stored), Some(&order), now)), Step::Issue { renewal: true });
}

#[test]
fn a_ca_is_asked_first_and_then_every_few_hours() {
    let stored = certificate(NOW, 90);
    assert_eq!(decide(&situation(Some(&stored), None, NOW)), Step::FetchRenewalInfo);
    let order = StoredOrder { renewal_asked: NOW + RENEWAL_INFO_INTERVAL_SECONDS, ..asked() };
    assert_eq!(
        decide(&situation(Some(&stored), Some(&order), NOW)),
        Step::Keep { until: NOW + RENEWAL_INFO_INTERVAL_SECONDS }
    );
    assert_eq!(
        decide(&situation(Some(&stored), Some(&order), NOW + RENEWAL_INFO_INTERVAL_SECONDS)),
        Step::FetchRenewalInfo
    );
}

#[test]
fn a_ca_that_always_says_now_makes_no_loop() {
    let stored = certificate(NOW, 90);
    let order = StoredOrder { renewal_at: Some(0), ..asked() };
    assert_eq!(decide(&situation(Some(&stored), Some(&order), NOW)), Step::Keep { until: NOW + DAY });
}

#[test]
fn a_life_shorter_than_renew_before_makes_no_loop() {
    let stored = certificate(NOW, 6);
    let order = asked();
    let given = Situation { renew_before: Some(30 * DAY), ..situation(Some(&stored), Some(&order), NOW) };
    assert_eq!(decide(&given), Step::Keep { until: NOW - 3600 + 3 * DAY });
    let fitting = Situation { renew_before: Some(2 * DAY), ..given };
    assert_eq!(decide(&fitting), Step::Keep { until: NOW - 3600 + 4 * DAY });
}

#[test]
fn pauses_grow_to_a_day_and_the_ca_can_make_them_longer() {
    let pauses: Vec<u64> =
        (0..7).map(|failures| retry_delay(failures, FailureCause::Refusal, None)).collect();
    assert_eq!(pauses, [60, 60, 600, 6_000, 86_400, 86_400, 86_400]);
    assert_eq!(retry_delay(1, FailureCause::Refusal, Some(10)), 60);
    assert_eq!(retry_delay(1, FailureCause::Refusal, Some(5_000)), 5_000);
    assert_eq!(retry_delay(9, FailureCause::Refusal, Some(u64::MAX)), 7 * DAY);
}

#[test]
fn an_outage_is_retried_in_minutes_and_delays_no_refusal() {
    use FailureCause::{Outage, Refusal};
    let pauses: Vec<u64> = (0..7).map(|failures| retry_delay(failures, Outage, None)).collect();
    assert_eq!(pauses, [10, 10, 20, 60, 300, 600, 600]);
    assert_eq!(retry_delay(1, Outage, Some(120)), 120, "the CA can say so with a 503");
    assert_eq!(
        [
            count_failure(0, Refusal, Outage),
            count_failure(7, Outage, Outage),
            count_failure(2, Refusal, Refusal)
        ],
        [1, 8, 3]
    );
    assert_eq!(count_failure(7, Outage, Refusal), 2);
    assert_eq!(count_failure(u64::MAX, Refusal, Refusal), u64::MAX);
}

#[test]
fn after_a_failure_nothing_is_tried_until_the_pause_is_over() {
    let failed = StoredOrder { failures: 2, next_attempt: NOW + 600, ..asked() };
    let wait = Step::Wait { until: NOW + 600, validations: false };
    assert_eq!(decide(&situation(None, Some(&failed), NOW)), wait);
    assert_eq!(decide(&situation(None, Some(&failed), NOW + 600)), Step::Issue { renewal: false });
    let forced = Situation { forced: true, ..situation(None, Some(&failed), NOW) };
    assert_eq!(decide(&forced), wait, "a person's impatience does not lift a CA's limit");
    let other = StoredOrder { made_for: "y".into(), ..failed };
    assert_eq!(
        decide(&situation(None, Some(&other), NOW)),
        Step::Issue { renewal: false },
        "what was changed is tried at once"
    );
}

#[test]
fn a_name_waits_after_three_failed_validations_in_an_hour() {
    assert_eq!(validation_allowed_at(&[NOW, NOW - 10]), 0);
    assert_eq!(
        validation_allowed_at(&[NOW, NOW - 10, NOW - 1000, NOW - 2000]),
        NOW - 1000 + FAILED_VALIDATION_WINDOW_SECONDS
    );
    let limited = Situation { names_allowed_at: NOW + 5, ..situation(None, None, NOW) };
    assert_eq!(decide(&limited), Step::Wait { until: NOW + 5, validations: true });
}

#[test]
fn an_order_that_was_left_lying_is_gone_on_with() {
    let stored = certificate(NOW, 90);
    let order = StoredOrder { url: Some("https://ca/order/1".into()), ..asked() };
    assert_eq!(decide(&situation(Some(&stored), Some(&order), NOW)), Step::Issue { renewal: true });
}

#[test]
fn a_clock_that_is_a_day_off_renews_nothing() {
    let order = asked();
    for days in [6, 47, 90, 398] {
        let stored = certificate(NOW, days);
        for now in [NOW - DAY, NOW, NOW + DAY] {
            let step = decide(&situation(Some(&stored), Some(&order), now));
            assert!(matches!(step, Step::Keep { .. }), "{days} days: {step:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_new_certificate_is_never_due_at_once(
        life in 600..400 * DAY, renew_before in proptest::option::of(0..1000 * DAY),
        suggested in proptest::option::of(0..2 * NOW),
    ) {
        let stored = StoredCertificate { not_after: NOW - 60 + life, not_before: NOW - 60, ..certificate(NOW, 1) };
        let order = StoredOrder { renewal_at: suggested, ..asked() };
        let situation = Situation { renew_before, ..situation(Some(&stored), Some(&order), NOW) };
        let is_kept = matches!(decide(&situation), Step::Keep { until } if until > NOW);
        prop_assert!(is_kept);
    }

    #[test]
    fn no_numbers_panic(
        times: [u64; 8], failures: u64, suggested: Option<u64>, renew_before: Option<u64>, forced: bool,
    ) {
        let [not_before, not_after, issued_at, ordered_at, next_attempt, renewal_asked, names_allowed_at, now] = times;
        let stored = StoredCertificate { not_before, not_after, issued_at, ..certificate(NOW, 1) };
        let order = StoredOrder {
            failures, ordered_at, next_attempt, renewal_asked, renewal_at: suggested, ..asked()
        };
        let situation = Situation {
            renew_before, forced, names_allowed_at, ..situation(Some(&stored), Some(&order), now)
        };
        decide(&situation);
        for cause in [FailureCause::Refusal, FailureCause::Outage] {
            retry_delay(count_failure(failures, cause, FailureCause::Refusal), cause, suggested);
        }
        validation_allowed_at(&times);
    }
}
