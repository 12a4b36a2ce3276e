//! Tests of the desired objects.

use super::{
    inputs::{HTTP_PORT, PEER_PORT},
    *,
};
use crate::{
    controller::NamespacedName,
    objects::digest,
    region::{
        key_material::{KeyMaterial, RotationInputs, Secrets},
        object_names::ObjectNames,
    },
};
use adit_api::region::{Autoscaling, ExposureType, NodePorts, RegionIssuer, RegionTokens, Registry, Relays};
use adit_api::{Region, RegionSpec, SecretKeyRef};
use adit_config::TcpPorts;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::LazyLock;
use time::OffsetDateTime;

static MATERIAL: LazyLock<KeyMaterial> = LazyLock::new(|| {
    let rotation = RotationInputs {
        now: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
        is_confirmed: true,
        requested: None,
    };
    KeyMaterial::of(&Secrets::new(), ObjectNames("eu"), "eu.example.com", rotation).unwrap()
});
static PROVIDER: LazyLock<ProviderDefaults> = LazyLock::new(|| ProviderDefaults {
    name: Some("Example Corp".to_owned()),
    abuse: Some("abuse@example.com".to_owned()),
    registry_image: "redis:7".to_owned(),
});

fn spec() -> RegionSpec {
    let store = json!({"relaySecretRef": {"name": "store", "key": "url"}});
    serde_json::from_value(json!({"domain": "eu.example.com", "store": store})).unwrap()
}

fn made(spec: RegionSpec) -> Vec<Object> {
    let region = Region::new("eu", spec);
    desired(&inputs(&region))
}

fn inputs(region: &Region) -> DesiredInputs<'_> {
    DesiredInputs {
        region,
        provider: &PROVIDER,
        material: &MATERIAL,
        image: "relay:1",
        back_ends: "b",
        kept_template: None,
        initial_replicas: None,
    }
}

fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Object {
    objects.iter().find(|object| object.kind == kind && object.name == name).unwrap()
}

fn template(objects: &[Object]) -> Value {
    find(objects, Kind::Deployment, "eu-relay").body["spec"]["template"].clone()
}

/// Fails on fields that Kubernetes does not have, and on fields of a wrong type.
fn check<T: Serialize + DeserializeOwned>(manifest: &Value) {
    let read: T = serde_json::from_value(manifest.clone()).unwrap();
    assert_eq!(&serde_json::to_value(read).unwrap(), manifest);
}

fn check_object(object: &Object) {
    let owner =
        OwnerReference { name: "eu".into(), uid: "u".into(), kind: "Region".into(), ..Default::default() };
    let manifest = object.manifest(&NamespacedName::new("tunnels", "eu"), &owner);
    match object.kind {
        Kind::ServiceAccount => check::<ServiceAccount>(&manifest),
        Kind::Secret => check::<Secret>(&manifest),
        Kind::ConfigMap => check::<ConfigMap>(&manifest),
        Kind::NetworkPolicy => check::<NetworkPolicy>(&manifest),
        Kind::Service => check::<Service>(&manifest),
        Kind::PodDisruptionBudget => check::<PodDisruptionBudget>(&manifest),
        Kind::Deployment => check::<Deployment>(&manifest),
        Kind::HorizontalPodAutoscaler => check::<HorizontalPodAutoscaler>(&manifest),
    }
}

/// Asserts what the profile restricted of the Pod Security Standards requires.
fn assert_restricted(template: &Value) {
    let pod = &template["spec"]["securityContext"];
    assert_eq!(
        (&pod["runAsNonRoot"], &pod["seccompProfile"]["type"]),
        (&json!(true), &json!("RuntimeDefault"))
    );
    assert_eq!(template["spec"]["automountServiceAccountToken"], false);
    for container in template["spec"]["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        assert!(container["resources"]["requests"]["cpu"].is_string());
    }
    let volumes = template["spec"]["volumes"].as_array().unwrap();
    let allowed =
        |volume: &Value| ["projected", "emptyDir", "secret"].iter().any(|kind| !volume[kind].is_null());
    assert!(volumes.iter().all(allowed));
}

fn specs() -> impl Strategy<Value = RegionSpec> {
    let exposure = (
        0_usize..3,
        any::<bool>(),
        proptest::option::of(1024_u16..7000),
        proptest::option::of(30000_u16..32768),
    );
    let registry = any::<bool>();
    let relays = (proptest::option::of(1..500), proptest::option::of((1..50, 0..50)), 0_u64..3600);
    (relays, exposure, registry, 0_usize..3, any::<bool>()).prop_map(
        |(relays, exposure, managed, issuers, suspended)| {
            let mut spec = spec();
            let (replicas, autoscaling, drain) = relays;
            spec.relays.autoscaling = autoscaling.map(|(min, more)| Autoscaling {
                min,
                max: min + more,
                target_cpu_utilization: 70,
            });
            spec.relays.replicas = replicas.filter(|_| spec.relays.autoscaling.is_none());
            spec.relays.drain_timeout = std::time::Duration::from_secs(drain);
            let (kind, public, first, node) = exposure;
            spec.exposure.kind =
                [ExposureType::LoadBalancer, ExposureType::NodePort, ExposureType::ClusterIp][kind];
            spec.exposure.public_port = public.then_some(8443);
            spec.exposure.tcp_ports = first.map(|first| TcpPorts { first, last: first + 49 });
            if kind != 2 {
                spec.exposure.node_ports = node.map(|https| NodePorts { https: Some(https), http: None });
            }
            if !managed {
                spec.registry =
                    Registry::Redis { url_secret_ref: SecretKeyRef { name: "r".into(), key: "url".into() } };
            }
            if issuers > 0 {
                let issuer = |index: usize| RegionIssuer {
                    issuer: format!("https://id-{index}.example.com"),
                    audience: "adit".to_owned(),
                    keys: "{\"keys\":[]}".to_owned(),
                };
                spec.access.tokens = RegionTokens::Issuers((0..issuers).map(issuer).collect());
            }
            spec.suspended = suspended;
            spec
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_object_is_valid_whatever_the_spec(spec in specs()) {
        let objects = made(spec.clone());
        let mut names: Vec<_> = objects.iter().map(|object| (object.kind, object.name.clone())).collect();
        prop_assert!(names.windows(2).all(|pair| pair[0].0 <= pair[1].0), "objects are ordered by kind");
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), objects.len(), "no object is listed twice");
        for object in &objects {
            check_object(object);
            if object.kind == Kind::Deployment {
                assert_restricted(&object.body["spec"]["template"]);
            }
        }
        prop_assert_eq!(made(spec), objects, "the same inputs give the same objects");
    }

    #[test]
    fn limits_and_access_restart_no_relay(spec in specs()) {
        let before = made(spec.clone());
        let mut changed = spec;
        changed.limits.tunnels += 1;
        changed.access.minimum_client_version = Some("0.9.0".parse().unwrap());
        let after = made(changed);
        prop_assert_eq!(template(&before), template(&after));
        let yaml = |objects: &[Object]| find(objects, Kind::ConfigMap, "eu-relay").body.clone();
        prop_assert_ne!(yaml(&before), yaml(&after));
    }

    #[test]
    fn scaling_restarts_no_relay(spec in specs(), replicas in 1..500) {
        let before = template(&made(spec.clone()));
        let relays = Relays { replicas: Some(replicas), autoscaling: None, ..spec.relays.clone() };
        prop_assert_eq!(before, template(&made(RegionSpec { relays, suspended: false, ..spec })));
    }
}

#[test]
fn each_change_that_needs_a_restart_makes_another_template() {
    let region = Region::new("eu", spec());
    let before = template(&desired(&inputs(&region)));
    let changed = |change: fn(&mut RegionSpec)| {
        let mut spec = spec();
        change(&mut spec);
        template(&made(spec))
    };
    for (name, after) in [
        ("image", template(&desired(&DesiredInputs { image: "relay:2", ..inputs(&region) }))),
        ("password", template(&desired(&DesiredInputs { back_ends: "c", ..inputs(&region) }))),
        ("drain", changed(|spec| spec.relays.drain_timeout = std::time::Duration::from_secs(1))),
        ("ports", changed(|spec| spec.exposure.tcp_ports = Some(TcpPorts { first: 20000, last: 20001 }))),
        ("public port", changed(|spec| spec.exposure.public_port = Some(8443))),
        ("store", changed(|spec| spec.store.relay_secret_ref.name = "other".into())),
    ] {
        assert_ne!(before, after, "{name}");
    }
}

#[test]
fn scheduling_and_exposure_follow_the_spec() {
    let relays = json!({
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "public"},
        "tolerations": [{"key": "public", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname"},
        ]}},
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"},
        ],
        "priorityClassName": "high",
    });
    let mut wanted = serde_json::to_value(spec()).unwrap();
    wanted["relays"].as_object_mut().unwrap().extend(relays.as_object().unwrap().clone());
    wanted["exposure"] = json!({
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "loadBalancerClass": "example.com/fast",
        "proxyProtocol": {"trustedCIDRs": ["10.0.0.0/8"]},
    });
    let region = Region::new("eu", serde_json::from_value(wanted).unwrap());
    let objects = desired(&inputs(&region));
    let pod = &template(&objects)["spec"];
    for (field, value) in relays.as_object().unwrap() {
        assert_eq!(&pod[field], value, "{field}");
    }
    let service = &find(&objects, Kind::Service, "eu-relay").body["spec"];
    assert_eq!(
        (&service["externalTrafficPolicy"], &service["loadBalancerClass"]),
        (&json!("Local"), &json!("example.com/fast"))
    );
    let relay = relay_config::relay_yaml(&inputs(&region));
    assert_eq!(relay["proxyProtocol"], json!({"trustedCIDRs": ["10.0.0.0/8"]}));
}

#[test]
fn relays_are_spread_and_serve_until_no_node_routes_to_them() {
    let pod = template(&made(spec()))["spec"].clone();
    let spread = pod["topologySpreadConstraints"].as_array().unwrap();
    let over: Vec<_> = spread.iter().map(|one| &one["topologyKey"]).collect();
    assert_eq!(over, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    let relay = &pod["containers"][0];
    let pre_stop = relay["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let drain = spec().relays.drain_timeout.as_secs();
    assert!(pre_stop > 0);
    assert!(
        pod["terminationGracePeriodSeconds"].as_u64().unwrap() > pre_stop + drain,
        "the drain has its whole time"
    );
}

#[test]
fn the_template_of_the_same_inputs_is_kept() {
    let region = Region::new("eu", spec());
    let objects = desired(&inputs(&region));
    let deployment = find(&objects, Kind::Deployment, "eu-relay");
    let digest = deployment.annotations["adit.dev/inputs"].clone();
    assert_eq!(deployment.annotations["adit.dev/template"], template(&objects).to_string());
    let earlier = json!({"spec": {"containers": [{"name": "relay", "image": "relay:1"}]}});
    let kept = DesiredInputs { kept_template: Some((digest.clone(), earlier.clone())), ..inputs(&region) };
    assert_eq!(template(&desired(&kept)), earlier, "the template of an earlier operator");
    let other =
        DesiredInputs { kept_template: Some((digest, earlier.clone())), image: "relay:2", ..inputs(&region) };
    assert_ne!(template(&desired(&other)), earlier, "the template of another image");
}

#[test]
fn optional_objects_are_desired_only_if_the_spec_needs_them() {
    let names = |spec: RegionSpec| {
        made(spec).into_iter().map(|object| (object.kind, object.name)).collect::<Vec<_>>()
    };
    let plain = names(spec());
    assert!(!plain.contains(&(Kind::Service, "eu-relay-tcp".into())));
    assert!(!plain.iter().any(|(kind, _)| *kind == Kind::HorizontalPodAutoscaler));
    let mut all = spec();
    all.exposure.tcp_ports = Some(TcpPorts { first: 20000, last: 20049 });
    all.relays.autoscaling = Some(Autoscaling { min: 2, max: 9, target_cpu_utilization: 70 });
    assert!(names(all.clone()).contains(&(Kind::Service, "eu-relay-tcp".into())));
    assert!(names(all.clone()).contains(&(Kind::HorizontalPodAutoscaler, "eu-relay".into())));
    all.suspended = true;
    assert!(
        !names(all).iter().any(|(kind, _)| *kind == Kind::HorizontalPodAutoscaler),
        "an autoscaler would scale up from 0"
    );
    let mut own = spec();
    own.registry = Registry::Redis { url_secret_ref: SecretKeyRef { name: "r".into(), key: "url".into() } };
    assert!(!names(own).iter().any(|(_, name)| name == "eu-registry"));
    let mut one = spec();
    one.relays.replicas = Some(1);
    assert!(
        !names(one).iter().any(|(kind, _)| *kind == Kind::PodDisruptionBudget),
        "the node of a single relay could not be drained"
    );
}

#[test]
fn no_pod_mounts_a_key_that_signs_certificates() {
    let objects = made(spec());
    for object in objects.iter().filter(|object| object.kind == Kind::Deployment) {
        let text = object.body.to_string();
        assert!(!text.contains("eu-peer-ca") && !text.contains("eu-ca"), "{}", object.name);
    }
    assert!(!find(&objects, Kind::ConfigMap, "eu-ca").body.to_string().contains("PRIVATE"));
}

#[test]
fn only_relays_reach_the_port_of_peer_links() {
    let objects = made(spec());
    let ingress = find(&objects, Kind::NetworkPolicy, "eu-relay").body["spec"]["ingress"].clone();
    let rule = |port: u16| {
        let has = |rule: &&Value| rule["ports"].as_array().unwrap().iter().any(|one| one["port"] == port);
        ingress.as_array().unwrap().iter().find(has).unwrap()["from"].clone()
    };
    assert_eq!((rule(HTTPS_PORT), rule(HTTP_PORT)), (Value::Null, Value::Null));
    assert!(rule(PEER_PORT)[0]["podSelector"].is_object());
}

#[test]
fn no_object_has_the_registry_password_in_clear() {
    let objects = made(spec());
    let password = &MATERIAL.registry_password;
    let shown: Vec<_> = objects.iter().filter(|object| object.body.to_string().contains(password)).collect();
    assert!(shown.is_empty(), "Secrets are in base64: {shown:?}");
    assert_ne!(digest(&[b"a"]), digest(&[b"b"]));
}

#[test]
fn a_redis_server_accepts_the_managed_registry_s_acl() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let objects = made(spec());
    let secret = &find(&objects, Kind::Secret, "eu-registry").body;
    let acl = BASE64_STANDARD.decode(secret["data"]["users.acl"].as_str().unwrap()).unwrap();
    let server = adit_testkit::redis::Redis::start();
    let acl = String::from_utf8(acl).unwrap();
    // The line of the default user last, because it revokes the rights of this connection.
    for line in acl.lines().rev() {
        let rule = line.strip_prefix("user ").unwrap();
        assert_eq!(server.run(&format!("ACL SETUSER {rule}")), "+OK", "{rule}");
    }
    assert!(server.run("PING").starts_with("-NOAUTH"));
}
