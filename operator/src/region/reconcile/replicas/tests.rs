//! Who says how many relays there are.

use super::*;
use serde_json::json;

fn region(relays: serde_json::Value, suspended: bool) -> Region {
    let spec = json!({"domain": "eu.example.com", "relays": relays, "suspended": suspended,
        "store": {"relaySecretRef": {"name": "s", "key": "url"}}});
    Region::new("eu", serde_json::from_value(spec).unwrap())
}

fn apart(relays: serde_json::Value, now: (i32, Said)) -> Option<i32> {
    let replicas = Replicas::of(&region(relays, false), Some(now));
    assert_eq!(replicas.initial, None);
    replicas.apart
}

#[test]
fn a_new_deployment_begins_with_as_many_as_asked_for() {
    for (relays, initial) in
        [(json!({}), 2), (json!({"replicas": 5}), 5), (json!({"autoscaling": {"min": 3, "max": 9}}), 3)]
    {
        assert_eq!(Replicas::of(&region(relays.clone(), false), None).initial, Some(initial));
        assert_eq!(Replicas::of(&region(relays, true), None).initial, Some(0), "suspended");
    }
}

#[test]
fn a_number_that_somebody_else_has_set_is_put_right() {
    assert_eq!(apart(json!({"replicas": 5}), (5, Said::Apart)), None);
    assert_eq!(apart(json!({"replicas": 5}), (4, Said::Apart)), Some(5));
    assert_eq!(
        apart(json!({"replicas": 5}), (5, Said::WithTheRest)),
        Some(5),
        "to own it before anybody leaves it out"
    );
    let suspended = Replicas::of(&region(json!({"replicas": 5}), true), Some((5, Said::Apart)));
    assert_eq!(suspended.apart, Some(0));
}

#[test]
fn an_autoscaler_takes_over_what_there_is() {
    let autoscaling = json!({"autoscaling": {"min": 3, "max": 9}});
    assert_eq!(
        apart(autoscaling.clone(), (5, Said::Apart)),
        None,
        "the field stays as the own manager has it"
    );
    assert_eq!(apart(autoscaling.clone(), (7, Said::ByOthers)), None, "the autoscaler has said so");
    assert_eq!(apart(autoscaling.clone(), (5, Said::WithTheRest)), Some(5), "nobody else would hold the 5");
    assert_eq!(apart(autoscaling.clone(), (2, Said::WithTheRest)), Some(3));
    assert_eq!(
        apart(autoscaling, (0, Said::Apart)),
        Some(3),
        "after a suspension: an autoscaler does not leave 0"
    );
}
