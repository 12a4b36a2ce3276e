//! The Helm chart, rendered by the real helm.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use adit_operator::{objects::Kind, settings::CommandLine};
use clap::CommandFactory;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Command, Output},
};

/// The version of Kubernetes for which the chart is rendered.
const KUBERNETES: &str = "1.36.0";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn helm(arguments: &[&str]) -> Output {
    let mut command = Command::new("helm");
    command.current_dir(root()).args(arguments);
    command.output().expect("helm is on PATH: make test builds it")
}

/// All objects of the chart with these values.
fn rendered(values: &[&str]) -> Vec<Value> {
    let mut words = vec!["template", "adit", "charts/adit", "--namespace", "adit-system"];
    words.extend(["--kube-version", KUBERNETES]);
    values.iter().for_each(|value| words.extend(["--set", value]));
    let output = helm(&words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents.map(|one| Value::deserialize(one).unwrap()).filter(|one| !one.is_null()).collect()
}

/// helm's message for a value that it refuses.
fn refusal(value: &str) -> String {
    let output = helm(&["template", "adit", "charts/adit", "--kube-version", KUBERNETES, "--set", value]);
    assert!(!output.status.success(), "{value} was taken");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn of<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|one| one["kind"] == kind).collect()
}

fn container(objects: &[Value]) -> Value {
    of(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0].clone()
}

fn environment(objects: &[Value]) -> BTreeMap<String, Value> {
    let container = container(objects);
    let all = container["env"].as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].clone())).collect()
}

#[test]
fn helm_lint_finds_nothing() {
    let output = helm(&["lint", "--strict", "charts/adit"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_chart_sets_exactly_the_operator_s_settings() {
    let everything = rendered(&[
        "watchNamespace=tunnels",
        "provider.name=Example",
        "provider.abuse=abuse@example.com",
        "dnsResolvers={192.0.2.1,192.0.2.2:5353}",
    ]);
    assert_eq!(environment(&everything)["ADIT_OPERATOR_DNS_RESOLVERS"], "192.0.2.1,192.0.2.2:5353");
    let set: BTreeSet<String> = environment(&everything).into_keys().collect();
    let read: BTreeSet<String> = CommandLine::command()
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned()))
        // The URL comes from a file: whoever may read the pod may not read the Secret.
        .filter(|name| name != "ADIT_OPERATOR_STORE_URL")
        .collect();
    assert_eq!(set, read);
}

#[test]
fn the_definitions_are_current_and_stay_at_uninstall() {
    for entry in std::fs::read_dir(root().join("crds")).unwrap() {
        let path = entry.unwrap().path();
        let copy = root().join("charts/adit/files/crds").join(path.file_name().unwrap());
        let same = std::fs::read(&path).unwrap() == std::fs::read(copy).unwrap();
        assert!(same, "{} differs in charts/adit/files/crds: make crds", path.display());
    }
    let objects = rendered(&[]);
    let definitions = of(&objects, "CustomResourceDefinition");
    let names: Vec<&str> =
        definitions.iter().map(|one| one["spec"]["names"]["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["Certificate", "Complaint", "Region"]);
    for one in definitions {
        assert_eq!(one["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
    assert!(of(&rendered(&["crds.install=false"]), "CustomResourceDefinition").is_empty());
}

#[test]
fn the_operator_has_rights_for_every_kind_that_it_applies() {
    let objects = rendered(&[]);
    let roles = of(&objects, "ClusterRole");
    let role = roles.iter().find(|one| one["metadata"]["name"] == "adit-system-adit").unwrap();
    let rules = role["rules"].as_array().unwrap();
    for kind in Kind::ALL {
        let resource = kind.resource();
        let has = |rule: &&Value, verb: &str| {
            let lists = |field: &str, word: &str| rule[field].as_array().unwrap().contains(&json!(word));
            lists("apiGroups", &resource.group)
                && lists("resources", &resource.plural)
                && lists("verbs", verb)
        };
        for verb in ["get", "list", "watch", "create", "patch", "delete"] {
            assert!(rules.iter().any(|rule| has(&rule, verb)), "{verb} {}", resource.plural);
        }
    }
    let all = rules.iter().flat_map(|rule| rule["verbs"].as_array().unwrap());
    assert!(all.clone().count() > 0);
    assert!(all.into_iter().all(|verb| verb != "*" && verb != "escalate" && verb != "impersonate"));
}

#[test]
fn with_one_namespace_the_rights_are_limited_to_it() {
    let objects = rendered(&["watchNamespace=tunnels"]);
    assert!(of(&objects, "ClusterRoleBinding").is_empty());
    let bindings = of(&objects, "RoleBinding");
    let namespaces: Vec<&str> =
        bindings.iter().map(|one| one["metadata"]["namespace"].as_str().unwrap()).collect();
    assert_eq!(namespaces, ["tunnels", "adit-system"]);
    let lease =
        of(&objects, "Role").into_iter().find(|one| one["metadata"]["name"] == "adit-leader").unwrap();
    assert_eq!(lease["rules"][1]["resourceNames"][0], environment(&objects)["ADIT_OPERATOR_LEASE_NAME"]);
}

#[test]
fn pods_meet_the_restricted_pod_security_standard() {
    for object in rendered(&[]) {
        let spec = match object["kind"].as_str().unwrap() {
            "Deployment" => &object["spec"]["template"]["spec"],
            "Pod" => &object["spec"],
            _ => continue,
        };
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in spec["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        }
    }
}

#[test]
fn images_have_a_version_or_a_digest() {
    let version = env!("CARGO_PKG_VERSION");
    let objects = rendered(&[]);
    assert_eq!(container(&objects)["image"], format!("adit-operator:{version}"));
    assert_eq!(environment(&objects)["ADIT_OPERATOR_RELAY_IMAGE"], format!("adit-relay:{version}"));
    let digest = format!("sha256:{}", "0a".repeat(32));
    let by_digest = rendered(&[&format!("image.digest={digest}"), "image.repository=r.example/adit"]);
    assert_eq!(container(&by_digest)["image"], format!("r.example/adit@{digest}"));
}

#[test]
fn optional_objects_are_rendered_only_if_enabled() {
    assert_eq!(of(&rendered(&[]), "PodDisruptionBudget").len(), 1);
    assert!(of(&rendered(&["replicas=1"]), "PodDisruptionBudget").is_empty());
    assert!(of(&rendered(&[]), "ServiceMonitor").is_empty());
    assert!(of(&rendered(&[]), "PrometheusRule").is_empty());
    let alerts = rendered(&["metrics.prometheusRule.enabled=true"]);
    let groups = of(&alerts, "PrometheusRule")[0]["spec"]["groups"].clone();
    let rules = |group: usize, field: &str| -> Vec<String> {
        let rules = groups[group]["rules"].as_array().unwrap();
        rules.iter().filter_map(|rule| Some(rule[field].as_str()?.to_owned())).collect()
    };
    assert_eq!(rules(0, "alert"), ["AditComplaintWaits", "AditComplaintNotEnforced"]);
    assert_eq!(rules(0, "expr")[0], "max(adit_operator_complaints_oldest_open_seconds) > 14400");
    assert_eq!(rules(1, "alert"), ["AditCertificateEnds", "AditCertificateNotRolledOut"]);
    assert_eq!(rules(1, "expr")[0], "min(adit_operator_certificates_first_end_seconds) < 172800");
    let monitored = rendered(&["metrics.serviceMonitor.enabled=true", "metrics.service=false"]);
    assert_eq!((of(&monitored, "ServiceMonitor").len(), of(&monitored, "Service").len()), (1, 1));
}

#[test]
fn invalid_values_are_refused_by_name() {
    for (value, field) in [
        ("replicas=0", "replicas"),
        ("image.digest=sha256:x", "digest"),
        ("watchNamespace=Tunnels", "watchNamespace"),
        ("concurrency=257", "concurrency"),
        ("log.format=xml", "format"),
        ("store.secretName=", "secretName"),
        ("replica=2", "replica"),
        ("metrics.serviceMonitor.interval=soon", "interval"),
    ] {
        let message = refusal(value);
        assert!(message.contains(field), "{value}: {message}");
    }
}
