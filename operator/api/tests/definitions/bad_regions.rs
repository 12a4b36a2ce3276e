//! Regions that the rules refuse, each with its reason.

use super::rules::{broken, schema, with};
use serde_json::{Value, json};

fn region() -> Value {
    json!({
        "apiVersion": "adit.dev/v1alpha1",
        "kind": "Region",
        "metadata": {"name": "eu", "namespace": "tunnels"},
        "spec": {
            "domain": "eu.example.com",
            "relays": {"replicas": 3, "drainTimeout": "1m30s"},
            "exposure": {"type": "NodePort", "nodePorts": {"https": 30443}, "tcpPorts": {"first": 20000, "last": 20049}},
            "registry": {"managed": {}},
            "store": {"relaySecretRef": {"name": "adit-store-relay", "key": "url"}},
            "access": {"minimumClientVersion": "0.3.0", "tokens": {"issuers": [{"issuer": "https://id.example.com", "audience": "adit", "keys": "{\"keys\":[]}"}]}},
            "limits": {"tunnels": 10, "bodyBytes": "1GiB", "bufferBytes": 67108864, "responseTimeout": "2m"}
        }
    })
}

#[test]
fn a_valid_region_breaks_no_rule() {
    assert_eq!(broken("Region", &region(), None), Vec::<String>::new());
    let minimal = json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Region", "metadata": {"name": "eu"}, "spec": {
        "domain": "eu.example.com", "store": {"relaySecretRef": {"name": "s", "key": "url"}}}});
    assert_eq!(broken("Region", &minimal, None), Vec::<String>::new());
    assert_eq!(
        broken("Region", &with(&minimal, "spec.limits", json!({"tunnels": 3})), Some(&minimal)),
        Vec::<String>::new()
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_bad_value_is_refused_with_field_and_rule() {
    for (path, value, error) in [
        (
            "metadata.name",
            json!("e".repeat(41)),
            ": metadata.name: has more than 40 characters: the names of the Region's objects contain it",
        ),
        (
            "spec.domain",
            json!(""),
            "spec.domain: is not a domain, which has labels of a-z, 0-9 and '-', like tunnels.example.com",
        ),
        (
            "spec.domain",
            json!("a_b.example"),
            "spec.domain: is not a domain, which has labels of a-z, 0-9 and '-', like tunnels.example.com",
        ),
        (
            "spec.domain",
            json!("eu.example.com."),
            "spec.domain: is not a domain, which has labels of a-z, 0-9 and '-', like tunnels.example.com",
        ),
        (
            "spec.domain",
            json!("EU.example.com"),
            "spec.domain: is not a domain, which has labels of a-z, 0-9 and '-', like tunnels.example.com",
        ),
        (
            "spec.domain",
            json!("еu.example.com"),
            "spec.domain: is not a domain, which has labels of a-z, 0-9 and '-', like tunnels.example.com",
        ),
        ("spec.domain", json!("10.0.0.1"), "spec.domain: is an IP address, not a domain"),
        (
            "spec.relays.autoscaling",
            json!({"min": 1, "max": 2}),
            "spec.relays: replicas and autoscaling are both given; give one of them",
        ),
        (
            "spec.relays.drainTimeout",
            json!("30"),
            "spec.relays.drainTimeout: is not a duration, which is written like 500ms, 30s, 1m30s, 1h or 7d",
        ),
        (
            "spec.exposure.type",
            json!("ClusterIP"),
            "spec.exposure: nodePorts: have no effect with type ClusterIP",
        ),
        (
            "spec.exposure.loadBalancerClass",
            json!("x"),
            "spec.exposure: loadBalancerClass: has no effect unless type is LoadBalancer",
        ),
        ("spec.exposure.tcpPorts.last", json!(19999), "spec.exposure.tcpPorts: last: is less than first"),
        ("spec.exposure.tcpPorts.last", json!(20050), "spec.exposure.tcpPorts: has more than 50 ports"),
        (
            "spec.exposure.tcpPorts",
            json!({"first": 443, "last": 443}),
            "spec.exposure.tcpPorts: first: is less than 1024",
        ),
        (
            "spec.exposure.tcpPorts",
            json!({"first": 8440, "last": 8450}),
            "spec.exposure.tcpPorts: has a port that relays use themselves: 7443, 8080, 8443 or 9090",
        ),
        (
            "spec.exposure.proxyProtocol",
            json!({"trustedCIDRs": ["10.0.0.1"]}),
            "spec.exposure.proxyProtocol.trustedCIDRs[0]: is not a network, which is written like 10.0.0.0/8",
        ),
        (
            "spec.access.minimumClientVersion",
            json!("v1"),
            "spec.access.minimumClientVersion: is not a version, which is written like 0.3.0",
        ),
        (
            "spec.limits.bodyBytes",
            json!("1 GiB"),
            "spec.limits.bodyBytes: is not a size, which is written like 65536, 512KiB, 64MiB or 10MB",
        ),
        (
            "spec.limits.bodyBytes",
            json!(-1),
            "spec.limits.bodyBytes: is not a size, which is written like 65536, 512KiB, 64MiB or 10MB",
        ),
    ] {
        let found = broken("Region", &with(&region(), path, value.clone()), None);
        assert_eq!(found, [error], "{path}: {value}");
    }
    let two = json!({"replicas": null, "autoscaling": {"min": 3, "max": 2}});
    let found = broken("Region", &with(&region(), "spec.relays", two), None);
    assert!(found.contains(&"spec.relays.autoscaling: max: is less than min".to_owned()), "{found:?}");
}

#[test]
fn immutable_fields_cannot_be_changed() {
    let old = region();
    for (path, value, error) in [
        ("spec.domain", json!("us.example.com"), "spec.domain: cannot be changed"),
        (
            "spec.registry",
            json!({"redis": {"urlSecretRef": {"name": "r", "key": "url"}}}),
            "spec: registry: cannot be changed",
        ),
    ] {
        let found = broken("Region", &with(&old, path, value), Some(&old));
        assert!(found.len() == 1 && found[0].starts_with(error), "{found:?}");
    }
}

#[test]
fn numbers_and_choices_are_bounded_by_the_schema() {
    let schema = schema("Region");
    let at = |path: &str| path.split('.').fold(&schema, |at, key| &at["properties"][key]);
    let replicas = at("spec.relays.replicas");
    assert_eq!((&replicas["minimum"], &replicas["maximum"]), (&json!(1.0), &json!(500.0)));
    assert_eq!(at("spec.exposure.type")["enum"], json!(["LoadBalancer", "NodePort", "ClusterIP"]));
    assert_eq!(at("spec.registry")["oneOf"], json!([{"required": ["managed"]}, {"required": ["redis"]}]));
    assert_eq!(at("spec.access.tokens.issuers")["maxItems"], json!(16));
    assert_eq!(at("spec")["required"], json!(["domain", "store"]));
    assert_eq!(at("status.conditions")["x-kubernetes-list-map-keys"], json!(["type"]));
}
