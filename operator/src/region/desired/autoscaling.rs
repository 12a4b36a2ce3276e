//! The autoscaler and the disruption budget.

use super::inputs::DesiredInputs;
use crate::objects::{Kind, Object, pod_labels};
use serde_json::json;

/// The disruption budget: one relay at a time may be evicted. A region of one relay has none, because its node could never
/// be drained.
pub(super) fn disruption_budget(inputs: &DesiredInputs<'_>) -> Option<Object> {
    let replicas = inputs.region.replicas();
    (replicas > 1).then(|| {
        let spec = json!({
            "maxUnavailable": 1,
            "selector": { "matchLabels": pod_labels(inputs.name(), "relay") },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        });
        Object::new(Kind::PodDisruptionBudget, inputs.names().relay(), json!({ "spec": spec }))
    })
}

/// The autoscaler by CPU use. A suspended region has none: it would scale up from 0.
pub(super) fn autoscaler(inputs: &DesiredInputs<'_>) -> Option<Object> {
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
        // A relay that ends moves its clients, so relays are removed slowly.
        "behavior": {
            "scaleDown": { "stabilizationWindowSeconds": 300, "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 60 }] },
        },
    });
    Some(Object::new(Kind::HorizontalPodAutoscaler, inputs.names().relay(), json!({ "spec": spec })))
}
