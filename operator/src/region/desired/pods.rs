//! What all pods have in common: restricted Pod Security.

use serde_json::{Value, json};

/// The user and group of all processes; distroless images call it nonroot.
const NOBODY: u32 = 65532;

/// The security context of a pod.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": NOBODY,
        "runAsGroup": NOBODY,
        "fsGroup": NOBODY,
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
