//! Tests of the number of relays.

use super::*;
use serde_json::json;

fn region(relays: serde_json::Value, suspended: bool) -> Region {
    let spec = json!({"domain": "eu.example.com", "relays": relays, "suspended": suspended,
        "store": {"relaySecretRef": {"name": "s", "key": "url"}}});
    Region::new("eu", serde_json::from_value(spec).unwrap())
}

fn separate(relays: serde_json::Value, current: (i32, ReplicasOwner)) -> Option<i32> {
    let replicas = Replicas::of(&region(relays, false), Some(current));
    assert_eq!(replicas.initial, None);
    replicas.separate
}

#[test]
fn a_new_deployment_begins_with_the_desired_number() {
    for (relays, initial) in
        [(json!({}), 2), (json!({"replicas": 5}), 5), (json!({"autoscaling": {"min": 3, "max": 9}}), 3)]
    {
        assert_eq!(Replicas::of(&region(relays.clone(), false), None).initial, Some(initial));
        assert_eq!(Replicas::of(&region(relays, true), None).initial, Some(0), "suspended");
    }
}

#[test]
fn a_number_that_someone_else_set_is_corrected() {
    assert_eq!(separate(json!({"replicas": 5}), (5, ReplicasOwner::SeparateManager)), None);
    assert_eq!(separate(json!({"replicas": 5}), (4, ReplicasOwner::SeparateManager)), Some(5));
    assert_eq!(
        separate(json!({"replicas": 5}), (5, ReplicasOwner::MainManager)),
        Some(5),
        "the separate manager takes the field over"
    );
    let suspended =
        Replicas::of(&region(json!({"replicas": 5}), true), Some((5, ReplicasOwner::SeparateManager)));
    assert_eq!(suspended.separate, Some(0));
}

#[test]
fn an_autoscaler_takes_over_the_current_number() {
    let autoscaling = json!({"autoscaling": {"min": 3, "max": 9}});
    assert_eq!(
        separate(autoscaling.clone(), (5, ReplicasOwner::SeparateManager)),
        None,
        "the field stays with the separate manager"
    );
    assert_eq!(separate(autoscaling.clone(), (7, ReplicasOwner::Other)), None, "the autoscaler has set it");
    assert_eq!(
        separate(autoscaling.clone(), (5, ReplicasOwner::MainManager)),
        Some(5),
        "the main manager would let go of it"
    );
    assert_eq!(separate(autoscaling.clone(), (2, ReplicasOwner::MainManager)), Some(3));
    assert_eq!(
        separate(autoscaling, (0, ReplicasOwner::SeparateManager)),
        Some(3),
        "an autoscaler does not scale up from 0"
    );
}
