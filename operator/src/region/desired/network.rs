//! Services and NetworkPolicies.

use super::inputs::{DesiredInputs, HTTP_PORT, HTTPS_PORT, OPS_PORT, PEER_PORT, REDIS_PORT};
use crate::objects::{Kind, Object, pod_labels};
use adit_api::region::{Exposure, ExposureType, ExternalTrafficPolicy, Registry};
use serde_json::{Value, json};

/// The Services for consumers and clients.
pub(super) fn services(inputs: &DesiredInputs<'_>) -> Vec<Object> {
    let exposure = &inputs.region.spec.exposure;
    let node_ports = exposure.node_ports.clone().unwrap_or_default();
    let port = |name: &str, port: u16, target: &str, node_port: Option<u16>| {
        let mut value = json!({ "name": name, "port": port, "targetPort": target, "protocol": "TCP" });
        if let Some(node_port) = node_port {
            value["nodePort"] = json!(node_port);
        }
        value
    };
    let https = port("https", exposure.public_port.unwrap_or(443), "https", node_ports.https);
    let http = port("http", 80, "http", node_ports.http);
    let mut services = vec![service(inputs, inputs.names().relay(), vec![https, http])];
    if let Some(range) = exposure.tcp_ports {
        let ports = range.iter().map(|number| {
            json!({ "name": format!("tcp-{number}"), "port": number, "targetPort": number, "protocol": "TCP" })
        });
        services.push(service(inputs, inputs.names().tcp(), ports.collect()));
    }
    services
}

fn service(inputs: &DesiredInputs<'_>, name: String, ports: Vec<Value>) -> Object {
    let exposure: &Exposure = &inputs.region.spec.exposure;
    let mut spec = json!({
        "type": exposure.kind.as_str(),
        "selector": pod_labels(inputs.name(), "relay"),
        "ports": ports,
    });
    if exposure.kind != ExposureType::ClusterIp {
        spec["externalTrafficPolicy"] = json!(match exposure.external_traffic_policy {
            Some(ExternalTrafficPolicy::Local) => "Local",
            Some(ExternalTrafficPolicy::Cluster) | None => "Cluster",
        });
    }
    if let Some(class) = &exposure.load_balancer_class {
        spec["loadBalancerClass"] = json!(class);
    }
    let mut service = Object::new(Kind::Service, name, json!({ "spec": spec }));
    service.annotations = exposure.annotations.clone();
    service
}

/// The NetworkPolicies of relays and the registry. The egress of relays is not limited, because back ends, issuers and DNS
/// can be anywhere.
pub(super) fn policies(inputs: &DesiredInputs<'_>) -> Vec<Object> {
    let names = inputs.names();
    let relays = pod_labels(inputs.name(), "relay");
    let port = |port: u16| json!({ "port": port, "protocol": "TCP" });
    let mut public = vec![port(HTTPS_PORT), port(HTTP_PORT)];
    if let Some(range) = inputs.region.spec.exposure.tcp_ports {
        public.push(json!({ "port": range.first, "endPort": range.last, "protocol": "TCP" }));
    }
    let from_relays = json!([{ "podSelector": { "matchLabels": relays } }]);
    let spec = json!({
        "podSelector": { "matchLabels": relays },
        "policyTypes": ["Ingress"],
        "ingress": [
            { "ports": public },
            { "ports": [port(PEER_PORT)], "from": from_relays },
            // Probes come from the node; the cluster's monitoring can be in any namespace.
            { "ports": [port(OPS_PORT)], "from": [{ "namespaceSelector": {} }] },
        ],
    });
    let mut policies = vec![Object::new(Kind::NetworkPolicy, names.relay(), json!({ "spec": spec }))];
    if matches!(inputs.region.spec.registry, Registry::Managed {}) {
        let spec = json!({
            "podSelector": { "matchLabels": pod_labels(inputs.name(), "registry") },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "ports": [port(REDIS_PORT)], "from": from_relays }],
        });
        policies.push(Object::new(Kind::NetworkPolicy, names.registry(), json!({ "spec": spec })));
    }
    policies
}
