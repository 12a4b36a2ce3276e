//! Which of several Regions with one domain owns it: the first one.

use crate::controller::{Blocked, NamespacedName};
use adit_api::Region;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The reason of `Ready` on a Region whose domain belongs to another Region.
pub(super) const TAKEN_REASON: &str = "DomainTaken";

/// The order of Regions. Creation times are whole seconds. Within one second an accepted Region comes before one that is
/// not, so that a copy of a Region never stops the relays of the original.
fn rank(region: &Region) -> (Option<&Time>, bool, Option<&str>) {
    let ready = region.status.as_ref().and_then(|status| status.condition("Ready"));
    let accepted = ready.is_some_and(|ready| ready.reason != TAKEN_REASON);
    (region.metadata.creation_timestamp.as_ref(), !accepted, region.metadata.uid.as_deref())
}

/// Why the Region cannot have its domain: the Region that owns it. `None` if it owns the domain itself.
pub(super) fn owner<'a>(region: &Region, mut others: impl Iterator<Item = &'a Region>) -> Option<Blocked> {
    let owner = NamespacedName::of(others.find(|other| is_before(other, region))?).ok()?;
    let message = format!("spec.domain: {:?} is the domain of Region {owner}", region.spec.domain);
    Some(Blocked::new(TAKEN_REASON, message))
}

/// Whether `other` owns the domain of `region`.
fn is_before(other: &Region, region: &Region) -> bool {
    other.spec.domain == region.spec.domain
        && other.metadata.uid != region.metadata.uid
        && rank(other) < rank(region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn region(uid: &str, created: &str, reason: Option<&str>) -> Region {
        let conditions: Vec<_> = reason
            .into_iter()
            .map(|reason| {
                json!({"type": "Ready", "status": "False", "reason": reason, "message": "",
                       "lastTransitionTime": created, "observedGeneration": 1})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1",
            "kind": "Region",
            "metadata": {"name": uid, "uid": uid, "creationTimestamp": created},
            "spec": {
                "domain": "eu.example.com",
                "relays": {},
                "exposure": {"type": "LoadBalancer"},
                "registry": {"managed": {}},
                "store": {"relaySecretRef": {"name": "postgres", "key": "url"}},
                "access": {"tokens": {"managed": {}}},
            },
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn the_older_region_keeps_the_domain_whatever_its_status() {
        let old = region("b", "2026-01-01T00:00:00Z", None);
        let new = region("a", "2026-01-01T00:00:01Z", Some("AllReady"));
        assert!(is_before(&old, &new));
        assert!(!is_before(&new, &old));
    }

    #[test]
    fn within_a_second_the_accepted_region_keeps_it() {
        let first = region("b", "2026-01-01T00:00:00Z", Some("NotReady"));
        for copy in [None, Some(TAKEN_REASON)] {
            let copy = region("a", "2026-01-01T00:00:00Z", copy);
            assert!(is_before(&first, &copy));
            assert!(!is_before(&copy, &first));
        }
    }

    #[test]
    fn exactly_one_of_two_equals_owns_it() {
        let (one, other) =
            (region("a", "2026-01-01T00:00:00Z", None), region("b", "2026-01-01T00:00:00Z", None));
        assert!(is_before(&one, &other));
        assert!(!is_before(&other, &one));
        assert!(!is_before(&one, &one));
    }

    #[test]
    fn another_domain_is_free() {
        let one = region("a", "2026-01-01T00:00:00Z", None);
        let mut other = region("b", "2026-01-01T00:00:00Z", None);
        other.spec.domain = "us.example.com".into();
        assert!(!is_before(&one, &other));
    }
}
