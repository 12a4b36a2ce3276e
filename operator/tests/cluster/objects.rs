//! A Region's objects are created, corrected, changed and deleted.

use crate::cluster::{Cluster, MAX_WAIT, spec, until, until_within};
use adit_operator::objects::Kind;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

const ALL: [&str; 18] = [
    "ServiceAccount eu-relay",
    "Secret eu-ca",
    "Secret eu-development",
    "Secret eu-keys",
    "Secret eu-peer",
    "Secret eu-peer-ca",
    "Secret eu-registry",
    "ConfigMap eu-ca",
    "ConfigMap eu-relay",
    "NetworkPolicy eu-registry",
    "NetworkPolicy eu-relay",
    "Service eu-registry",
    "Service eu-relay",
    "PodDisruptionBudget eu-relay",
    "Deployment eu-registry",
    "Deployment eu-relay",
    "HorizontalPodAutoscaler eu-relay",
    "Service eu-relay-tcp",
];

async fn is_exactly(cluster: &Cluster, wanted: &[&str]) {
    let mut wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    wanted.sort();
    until(&format!("the objects are {wanted:?}"), async || {
        let mut names = cluster.names().await;
        names.sort();
        names == wanted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_objects_follow_the_region_from_creation_to_deletion() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let mut spec = spec(&cluster.namespace);
    cluster.apply("eu", &spec).await.unwrap();
    is_exactly(&cluster, &ALL[..16]).await;
    cluster.wait_for("eu", "Ready", "False", "NotReady").await;
    cluster.make_ready("eu-relay").await;
    cluster.wait_for("eu", "Ready", "True", "Serving").await;

    // A changed spec creates and deletes objects, and leaves the others alone.
    let keys = cluster.objects(Kind::Secret).await["eu-keys"].clone();
    spec["exposure"]["tcpPorts"] = json!({"first": 20000, "last": 20049});
    spec["relays"] = json!({"autoscaling": {"min": 2, "max": 4}});
    cluster.apply("eu", &spec).await.unwrap();
    is_exactly(&cluster, &ALL).await;
    spec["exposure"] = json!({"type": "ClusterIP"});
    spec["relays"] = json!({"replicas": 1});
    cluster.apply("eu", &spec).await.unwrap();
    let one: Vec<&str> =
        ALL[..16].iter().copied().filter(|name| !name.starts_with("PodDisruption")).collect();
    is_exactly(&cluster, &one).await;
    assert_eq!(cluster.objects(Kind::Secret).await["eu-keys"], keys);

    cluster.regions().delete("eu", &DeleteParams::default()).await.unwrap();
    until("the Region is gone", async || cluster.regions().get_opt("eu").await.unwrap().is_none()).await;
    is_exactly(&cluster, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_corrected_and_deleted_objects_are_recreated() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    cluster.apply("eu", &spec(&cluster.namespace)).await.unwrap();
    is_exactly(&cluster, &ALL[..16]).await;
    let api = |kind: Kind| {
        kube::Api::<kube::api::DynamicObject>::namespaced_with(
            cluster.client.clone(),
            &cluster.namespace,
            &kind.resource(),
        )
    };
    let before = cluster.objects(Kind::Secret).await;
    for (kind, name, change, path) in [
        (
            Kind::ConfigMap,
            "eu-relay",
            json!({"data": {"relay.yaml": "domain: elsewhere.example"}}),
            "/data/relay.yaml",
        ),
        (Kind::Service, "eu-relay", json!({"spec": {"selector": {"app": "other"}}}), "/spec/selector"),
        (Kind::Deployment, "eu-relay", json!({"spec": {"replicas": 7}}), "/spec/replicas"),
        (
            Kind::Deployment,
            "eu-relay",
            json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 100}}}}),
            "/spec/template/spec/terminationGracePeriodSeconds",
        ),
        (Kind::NetworkPolicy, "eu-relay", json!({"spec": {"ingress": []}}), "/spec/ingress"),
        (
            Kind::PodDisruptionBudget,
            "eu-relay",
            json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
            "/metadata/labels/app.kubernetes.io~1name",
        ),
    ] {
        let right = cluster.objects(kind).await[name].pointer(path).cloned();
        assert!(right.is_some(), "{path}");
        api(kind).patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
        until(&format!("{name} {path} is right again"), async || {
            let now = cluster.objects(kind).await[name].pointer(path).cloned();
            // A selector is a map: keys that someone added stay.
            let holds = |right: &Value, now: &Value| match (right.as_object(), now.as_object()) {
                (Some(right), Some(now)) => right.iter().all(|(key, value)| now.get(key) == Some(value)),
                _ => right == now,
            };
            right.as_ref().zip(now.as_ref()).is_some_and(|(right, now)| holds(right, now))
        })
        .await;
    }
    for (kind, name) in
        [(Kind::Deployment, "eu-relay"), (Kind::Secret, "eu-peer"), (Kind::ServiceAccount, "eu-relay")]
    {
        api(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }
    is_exactly(&cluster, &ALL[..16]).await;
    let after = cluster.objects(Kind::Secret).await;
    assert_eq!(before["eu-keys"]["data"], after["eu-keys"]["data"]);
    assert_eq!(before["eu-peer-ca"]["data"], after["eu-peer-ca"]["data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_someone_else_is_not_taken_over() {
    let cluster = Cluster::new().await;
    let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let own =
        serde_json::from_value(json!({"metadata": {"name": "eu-relay"}, "data": {"mine": "yes"}})).unwrap();
    api.create(&kube::api::PostParams::default(), &own).await.unwrap();
    let _operator = cluster.operator();
    cluster.apply("eu", &spec(&cluster.namespace)).await.unwrap();
    cluster.wait_for("eu", "Ready", "False", "ApplyFailed").await;
    let found = api.get("eu-relay").await.unwrap();
    assert_eq!(serde_json::to_value(found.data).unwrap(), json!({"mine": "yes"}));
    assert_eq!(found.metadata.owner_references, None);
    api.delete("eu-relay", &DeleteParams::default()).await.unwrap();
    is_exactly(&cluster, &ALL[..16]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_region_causes_no_writes() {
    let cluster = Cluster::new().await;
    let mut operator = cluster.operator();
    cluster.apply("eu", &spec(&cluster.namespace)).await.unwrap();
    is_exactly(&cluster, &ALL[..16]).await;
    cluster.make_ready("eu-relay").await;
    cluster.wait_for("eu", "Ready", "True", "Serving").await;
    let versions = async || {
        let mut versions = vec![cluster.regions().get("eu").await.unwrap().metadata.resource_version];
        for kind in Kind::ALL {
            let all = cluster.objects(kind).await;
            versions.extend(
                all.values().map(|one| one["metadata"]["resourceVersion"].as_str().map(str::to_owned)),
            );
        }
        versions
    };
    // The next process takes over the fields of objects that were created with POST, once.
    operator.term();
    assert!(operator.wait(MAX_WAIT).is_some_and(|status| status.success()), "{}", cluster.log());
    let mut operator = cluster.operator();
    let leads = async |times: usize| {
        until("the next one leads", async || cluster.log().matches("leader lease acquired").count() >= times)
            .await;
    };
    let pause = std::time::Duration::from_secs(5);
    leads(2).await;
    let mut before = versions().await;
    until_within(MAX_WAIT, "nothing is written for a while", async || {
        tokio::time::sleep(pause).await;
        let now = versions().await;
        std::mem::replace(&mut before, now.clone()) == now
    })
    .await;
    // Later processes apply everything once, which changes nothing.
    operator.term();
    assert!(operator.wait(MAX_WAIT).is_some_and(|status| status.success()), "{}", cluster.log());
    let _operator = cluster.operator();
    leads(3).await;
    tokio::time::sleep(pause).await;
    assert_eq!(versions().await, before);
}
