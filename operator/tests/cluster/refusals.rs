//! Invalid Regions: those that the API server refuses, and those that only the operator finds.

use crate::cluster::{Cluster, spec, until};
use adit_operator::objects::Kind;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

fn with(spec: &Value, path: &str, value: Value) -> Value {
    let mut spec = spec.clone();
    *path.split('.').fold(&mut spec, |at, key| &mut at[key]) = value;
    spec
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_refuses_bad_regions_with_field_and_rule() {
    let cluster = Cluster::new().await;
    let good = spec(&cluster.namespace);
    cluster.apply("eu", &good).await.unwrap();
    for (path, value, expected) in [
        ("domain", json!(""), "spec.domain: Invalid value: \"\": is not a domain"),
        ("domain", json!("a_b.example"), "spec.domain: Invalid value: \"a_b.example\": is not a domain"),
        ("domain", json!("*.example.com"), "has a wildcard"),
        ("domain", json!("example.com."), "is not a domain"),
        ("domain", json!("10.0.0.1"), "is an IP address"),
        ("domain", json!("еu.example.com"), "is not a domain"),
        ("domain", json!("a".repeat(190)), "Too long"),
        ("domain", json!("other.example.com"), "cannot be changed"),
        ("relays.replicas", json!(-1), "spec.relays.replicas: Invalid value: -1"),
        ("relays.replicas", json!(0), "should be greater than or equal to 1"),
        ("relays.replicas", json!(2_147_483_648_u64), "spec.relays.replicas: Invalid value"),
        ("relays.autoscaling", json!({"min": 1, "max": 2}), "replicas and autoscaling are both given"),
        ("relays.drainTimeout", json!("soon"), "is not a duration"),
        ("exposure.type", json!("Ingress"), "spec.exposure.type: Unsupported value: \"Ingress\""),
        ("exposure.tcpPorts", json!({"first": 9080, "last": 9100}), "has a port that relays use themselves"),
        ("exposure.tcpPorts", json!({"first": 20000, "last": 20050}), "more than 50 ports"),
        ("exposure.proxyProtocol", json!({"trustedCIDRs": ["everyone"]}), "is not a network"),
        (
            "registry",
            json!({"redis": {"urlSecretRef": {"name": "r", "key": "url"}}}),
            "registry: cannot be changed",
        ),
        ("store", json!({}), "spec.store: Invalid value"),
        ("limits.bodyBytes", json!("lots"), "is not a size"),
        ("limits.tunnels", json!(0), "spec.limits.tunnels: Invalid value: 0"),
        ("access.minimumClientVersion", json!("v1"), "is not a version"),
        ("access.tokens", json!({"managed": {}, "issuers": []}), "spec.access.tokens"),
    ] {
        let refused = cluster.apply("eu", &with(&good, path, value.clone())).await;
        let text = format!("{:?}", refused.expect_err(&format!("{path}: {value}")));
        // Debug quotes the text again.
        assert!(text.replace("\\\"", "\"").contains(expected), "{path}: {value}: {text}");
    }
    let long = "e".repeat(41);
    let text = format!("{:?}", cluster.apply(&long, &good).await.unwrap_err());
    assert!(text.contains("metadata.name: has more than 40 characters"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_reports_what_the_rules_do_not_find() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let good = spec(&cluster.namespace);
    cluster.apply("eu", &good).await.unwrap();
    until("it is made", async || cluster.objects(Kind::Deployment).await.contains_key("eu-relay")).await;
    cluster.wait_for("eu", "Ready", "False", "NotReady").await;
    let config = || async { cluster.objects(Kind::ConfigMap).await["eu-relay"].clone() };
    let before = config().await;
    cluster.apply("eu", &with(&good, "limits.bufferBytes", json!("1KiB"))).await.unwrap();
    cluster.wait_for("eu", "Ready", "False", "InvalidSpec").await;
    let status = cluster.regions().get("eu").await.unwrap().status.unwrap();
    assert_eq!(
        status.condition("Ready").unwrap().message,
        "spec.limits.bufferBytes: 1KiB is not from 1MiB to 64GiB"
    );
    // A value that the types cannot represent must not stop the other Regions.
    cluster.apply("eu", &with(&good, "limits.responseTimeout", json!("99999999d"))).await.unwrap();
    cluster.wait_for("eu", "Ready", "False", "InvalidSpec").await;
    assert!(cluster.regions().get("eu").await.is_err(), "the typed API cannot read it either");
    let mut other = good.clone();
    other["domain"] = json!(format!("us.{}.example.com", cluster.namespace));
    cluster.apply("us", &other).await.unwrap();
    until("the other one is made", async || cluster.objects(Kind::Deployment).await.contains_key("us-relay"))
        .await;
    assert_eq!(config().await, before);
    cluster.apply("eu", &good).await.unwrap();
    cluster.wait_for("eu", "Ready", "False", "NotReady").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_two_regions_keeps_the_domain() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let spec = spec(&cluster.namespace);
    cluster.apply("first", &spec).await.unwrap();
    cluster.wait_for("first", "Ready", "False", "NotReady").await;
    // Creation times are whole seconds, and the watch is some milliseconds behind.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    cluster.apply("second", &spec).await.unwrap();
    cluster.wait_for("second", "Ready", "False", "DomainTaken").await;
    assert!(!cluster.objects(Kind::Deployment).await.contains_key("second-relay"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_secret_is_named_until_it_exists() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let missing = with(&spec(&cluster.namespace), "store.relaySecretRef.name", json!("later"));
    cluster.apply("eu", &missing).await.unwrap();
    cluster.wait_for("eu", "StoreReachable", "False", "SecretNotFound").await;
    let status = cluster.regions().get("eu").await.unwrap().status.unwrap();
    let message = &status.condition("StoreReachable").unwrap().message;
    let expected = format!(
        "spec.store.relaySecretRef: there is no Secret \"later\" with key \"url\" in namespace \"{}\"",
        cluster.namespace
    );
    assert_eq!(*message, expected);
    assert!(cluster.objects(Kind::Deployment).await.is_empty(), "relays would only fail");
    let secret: k8s_openapi::api::core::v1::Secret =
        serde_json::from_value(json!({"metadata": {"name": "later"}, "stringData": {"url": cluster.store}}))
            .unwrap();
    let secrets = kube::Api::namespaced(cluster.client.clone(), &cluster.namespace);
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    until("the relays are made", async || cluster.objects(Kind::Deployment).await.contains_key("eu-relay"))
        .await;
    // A deleted namespace deletes its Region, whatever was deleted before.
    let region = json!({"metadata": {"annotations": {"adit.dev/give-up-draining": "true"}}});
    cluster.regions().patch("eu", &PatchParams::default(), &Patch::Merge(&region)).await.unwrap();
    secrets.delete("later", &DeleteParams::default()).await.unwrap();
    cluster.regions().delete("eu", &DeleteParams::default()).await.unwrap();
    until("the Region is gone", async || cluster.regions().get_opt("eu").await.unwrap().is_none()).await;
}
