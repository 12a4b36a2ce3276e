//! The relays' Deployment.

use super::{
    inputs::{DesiredInputs, HTTP_PORT, HTTPS_PORT, OPS_PORT, PEER_PORT},
    pods,
    relay_config::{self, RELAY_YAML},
    secrets,
};
use crate::objects::{Kind, Object, digest, labels, pod_labels};
use adit_api::region::{Registry, Relays};
use serde_json::{Value, json};
use std::time::Duration;

/// The annotation of the Deployment with the digest of the inputs of its template.
pub(in crate::region) const INPUTS_ANNOTATION: &str = "adit.dev/inputs";
/// The annotation of the Deployment with its template, because server-side apply has to name every field each time.
pub(in crate::region) const TEMPLATE_ANNOTATION: &str = "adit.dev/template";
/// How long a pod that ends accepts connections as before, in seconds: until no node routes to it any more.
const PRE_STOP_SECONDS: u64 = 5;
/// Time for closing sessions after the drain timeout.
const CLOSE_TIME: Duration = Duration::from_secs(10);

pub(super) fn deployment(inputs: &DesiredInputs<'_>) -> Object {
    let digest = inputs_digest(inputs);
    let template = match &inputs.kept_template {
        Some((kept, template)) if *kept == digest => template.clone(),
        _ => template(inputs),
    };
    let mut spec = json!({
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": 600,
        // A new relay is ready, and known to its peers, before an old one ends.
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": "25%" } },
        "minReadySeconds": 2,
        "selector": { "matchLabels": pod_labels(inputs.name(), "relay") },
        "template": template,
    });
    if let Some(replicas) = inputs.initial_replicas {
        spec["replicas"] = json!(replicas);
    }
    let mut deployment = Object::new(Kind::Deployment, inputs.names().relay(), json!({ "spec": spec }));
    deployment.annotations.insert(INPUTS_ANNOTATION.to_owned(), digest);
    deployment.annotations.insert(TEMPLATE_ANNOTATION.to_owned(), template.to_string());
    deployment
}

/// A digest of the inputs of the pod template, but not of the code that makes it.
fn inputs_digest(inputs: &DesiredInputs<'_>) -> String {
    let spec = &inputs.region.spec;
    // The number of relays does not change their pods.
    let relays = Relays { replicas: None, autoscaling: None, image: None, ..spec.relays.clone() };
    let parts =
        json!([inputs.name(), relays, spec.registry, spec.store, inputs.image, restart_digest(inputs)]);
    digest(&[parts.to_string().as_bytes()])
}

/// A digest of all that a running relay does not read again.
fn restart_digest(inputs: &DesiredInputs<'_>) -> String {
    let yaml = relay_config::restart_inputs(inputs).to_string();
    digest(&[yaml.as_bytes(), secrets::restart_digest(inputs).as_bytes(), inputs.back_ends.as_bytes()])
}

fn template(inputs: &DesiredInputs<'_>) -> Value {
    let relays = &inputs.region.spec.relays;
    let mut labels = labels(inputs.name());
    labels.extend(pod_labels(inputs.name(), "relay"));
    let mut annotations = relays.pod_annotations.clone();
    annotations.insert("adit.dev/restarting".to_owned(), restart_digest(inputs));
    let grace = relays.drain_timeout + Duration::from_secs(PRE_STOP_SECONDS) + CLOSE_TIME;
    let mut spec = json!({
        "serviceAccountName": inputs.names().relay(),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": pods::pod_security(),
        "terminationGracePeriodSeconds": grace.as_secs(),
        "topologySpreadConstraints": topology_spread(inputs),
        "containers": [container(inputs)],
        "volumes": [
            { "name": "config", "projected": { "defaultMode": 0o440, "sources": volume_sources(inputs) } },
            { "name": "data", "emptyDir": { "sizeLimit": "64Mi" } },
        ],
    });
    if !relays.image_pull_secrets.is_empty() {
        spec["imagePullSecrets"] = json!(relays.image_pull_secrets);
    }
    if !relays.node_selector.is_empty() {
        spec["nodeSelector"] = json!(relays.node_selector);
    }
    if !relays.tolerations.is_empty() {
        spec["tolerations"] = json!(relays.tolerations);
    }
    if let Some(affinity) = &relays.affinity {
        spec["affinity"] = json!(affinity);
    }
    if let Some(class) = &relays.priority_class_name {
        spec["priorityClassName"] = json!(class);
    }
    json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": spec })
}

fn topology_spread(inputs: &DesiredInputs<'_>) -> Value {
    let own = &inputs.region.spec.relays.topology_spread_constraints;
    if !own.is_empty() {
        return json!(own);
    }
    let over = |topology: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": pod_labels(inputs.name(), "relay") },
        })
    };
    json!([over("kubernetes.io/hostname"), over("topology.kubernetes.io/zone")])
}

fn container(inputs: &DesiredInputs<'_>) -> Value {
    let relays = &inputs.region.spec.relays;
    let port = |name: &str, port: u16| json!({ "name": name, "containerPort": port, "protocol": "TCP" });
    let ports = vec![
        port("https", HTTPS_PORT),
        port("http", HTTP_PORT),
        port("peer", PEER_PORT),
        port("ops", OPS_PORT),
    ];
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": { "path": path, "port": "ops", "scheme": "HTTP" },
            "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures, "successThreshold": 1,
        })
    };
    let resources = relays.resources.as_ref().map_or_else(
        || json!({ "requests": { "cpu": "250m", "memory": "128Mi" }, "limits": { "memory": "512Mi" } }),
        |resources| json!(resources),
    );
    json!({
        "name": "relay",
        "image": inputs.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--config", format!("/etc/adit/{RELAY_YAML}")],
        "env": environment(inputs),
        "ports": ports,
        "startupProbe": probe("/livez", 1, 60),
        "readinessProbe": probe("/readyz", 1, 2),
        "livenessProbe": probe("/livez", 5, 3),
        "lifecycle": { "preStop": { "sleep": { "seconds": PRE_STOP_SECONDS } } },
        "resources": resources,
        "securityContext": pods::container_security(),
        "volumeMounts": [
            { "name": "config", "mountPath": "/etc/adit", "readOnly": true },
            { "name": "data", "mountPath": "/var/lib/adit" },
        ],
    })
}

/// The variables of what differs between pods, and of URLs with passwords.
fn environment(inputs: &DesiredInputs<'_>) -> Value {
    let spec = &inputs.region.spec;
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } });
    let secret = |name: &str, secret: &str, key: &str| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": secret, "key": key } } });
    let store = &spec.store.relay_secret_ref;
    let registry = match &spec.registry {
        Registry::Managed {} => secret("ADIT_REGISTRY", &inputs.names().registry(), "url"),
        Registry::Redis { url_secret_ref: reference } => {
            secret("ADIT_REGISTRY", &reference.name, &reference.key)
        }
    };
    json!([
        field("ADIT_NAME", "metadata.name"),
        field("POD_IP", "status.podIP"),
        { "name": "ADIT_PEER_ADVERTISE", "value": format!("$(POD_IP):{PEER_PORT}") },
        secret("ADIT_STORE", &store.name, &store.key),
        registry,
    ])
}

/// The sources of the one volume with all files that relays read, so that they change together.
fn volume_sources(inputs: &DesiredInputs<'_>) -> Value {
    let names = inputs.names();
    let secret = |name: String, folder: &str, keys: &[&str]| {
        let items: Vec<Value> =
            keys.iter().map(|key| json!({ "key": key, "path": format!("{folder}/{key}") })).collect();
        json!({ "secret": { "name": name, "items": items } })
    };
    // All keys of the ConfigMap are mounted: there is a file for each issuer.
    json!([
        { "configMap": { "name": names.relay() } },
        secret(names.keys(), "keys", &["region.key", "token.key"]),
        secret(names.peer(), "peer", &["ca.crt", "tls.crt", "tls.key"]),
        secret(names.development(), "development", &["tls.crt", "tls.key"]),
    ])
}
