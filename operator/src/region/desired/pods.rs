//! The security contexts of all pods: the profile restricted of the Pod Security Standards.

use serde_json::{Value, json};

/// The user and group of all processes; `nonroot` in distroless images.
const NONROOT: u32 = 65532;

/// The security context of a pod.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": NONROOT,
        "runAsGroup": NONROOT,
        "fsGroup": NONROOT,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The security context of a container.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}
