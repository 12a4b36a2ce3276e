//! The autoscaler and the disruption budget.

use super::Inputs;
use crate::objects::{Kind, Object, pod_labels};
use serde_json::json;

/// One relay at a time may be taken away by whoever drains nodes. A region of one relay has none: its node could never
/// be drained.
pub(super) fn disruption_budget(inputs: &Inputs<'_>) -> Option<Object> {
    let least = inputs.region.replicas();
    (least > 1).then(|| {
        let spec = json!({
            "maxUnavailable": 1,
            "selector": { "matchLabels": pod_labels(inputs.name(), "relay") },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        });
        Object::new(Kind::PodDisruptionBudget, inputs.names().relay(), json!({ "spec": spec }))
    })
}

/// As many relays as their CPU use asks for. None while the region is suspended: it would fight the 0.
pub(super) fn autoscaler(inputs: &Inputs<'_>) -> Option<Object> {
    let spec = &inputs.region.spec;
    let autoscaling = spec.relays.autoscaling.as_ref().filter(|_| !spec.suspended)?;
    let spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": inputs.names().relay() },
        "minReplicas": autoscaling.min,
        "maxReplicas": autoscaling.max,
        "metrics": [{
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": { "type": "Utilization", "averageUtilization": autoscaling.target_cpu_utilization },
            },
        }],
        // Each relay that goes moves its clients: it goes slowly, and only when it has not been needed for a while.
        "behavior": {
            "scaleDown": { "stabilizationWindowSeconds": 300, "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 60 }] },
        },
    });
    Some(Object::new(Kind::HorizontalPodAutoscaler, inputs.names().relay(), json!({ "spec": spec })))
}
