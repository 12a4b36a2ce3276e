//! The managed registry: one Redis-compatible pod without a disk. It is a cache that relays fill within seconds.

use super::{
    inputs::{DesiredInputs, REDIS_PORT},
    pods,
};
use crate::objects::{Kind, Object, digest, labels, pod_labels};
use adit_api::region::Registry;
use serde_json::{Value, json};

pub(super) fn registry(inputs: &DesiredInputs<'_>) -> Vec<Object> {
    if !matches!(inputs.region.spec.registry, Registry::Managed {}) {
        return Vec::new();
    }
    let name = inputs.names().registry();
    let selector = pod_labels(inputs.name(), "registry");
    let service = json!({
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{ "name": "redis", "port": REDIS_PORT, "targetPort": "redis", "protocol": "TCP" }],
        },
    });
    let replicas = i32::from(!inputs.region.spec.suspended);
    let deployment = json!({
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            // Two pods at once would each have a part of the rows.
            "strategy": { "type": "Recreate" },
            "selector": { "matchLabels": selector },
            "template": template(inputs),
        },
    });
    vec![Object::new(Kind::Service, name.clone(), service), Object::new(Kind::Deployment, name, deployment)]
}

fn template(inputs: &DesiredInputs<'_>) -> Value {
    let mut labels = labels(inputs.name());
    labels.extend(pod_labels(inputs.name(), "registry"));
    let tolerate_briefly = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 });
    json!({
        "metadata": {
            "labels": labels,
            "annotations": { "adit.dev/password": digest(&[inputs.material.registry_password.as_bytes()]) },
        },
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": pods::pod_security(),
            "terminationGracePeriodSeconds": 5,
            // It moves from a lost node at once: relays announce again what it knew.
            "tolerations": [tolerate_briefly("node.kubernetes.io/not-ready"), tolerate_briefly("node.kubernetes.io/unreachable")],
            "containers": [{
                "name": "redis",
                "image": inputs.provider.registry_image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["redis-server"],
                "args": [
                    "--bind", "* -::*", "--port", REDIS_PORT.to_string(), "--protected-mode", "no",
                    "--save", "", "--appendonly", "no", "--dir", "/tmp",
                    "--aclfile", "/etc/registry/users.acl",
                    "--maxmemory", "192mb", "--maxmemory-policy", "noeviction",
                ],
                "ports": [{ "name": "redis", "containerPort": REDIS_PORT, "protocol": "TCP" }],
                "readinessProbe": { "tcpSocket": { "port": "redis" }, "periodSeconds": 2 },
                "livenessProbe": { "tcpSocket": { "port": "redis" }, "periodSeconds": 5, "failureThreshold": 3 },
                "resources": {
                    "requests": { "cpu": "50m", "memory": "64Mi" },
                    "limits": { "memory": "256Mi" },
                },
                "securityContext": pods::container_security(),
                "volumeMounts": [
                    { "name": "users", "mountPath": "/etc/registry", "readOnly": true },
                    { "name": "tmp", "mountPath": "/tmp" },
                ],
            }],
            "volumes": [
                {
                    "name": "users",
                    "secret": {
                        "secretName": inputs.names().registry(),
                        "defaultMode": 0o440,
                        "items": [{ "key": "users.acl", "path": "users.acl" }],
                    },
                },
                { "name": "tmp", "emptyDir": { "sizeLimit": "16Mi" } },
            ],
        },
    })
}
