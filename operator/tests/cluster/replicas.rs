//! The number of relays does not drop when its owner changes.

use crate::cluster::{Cluster, spec, until};
use adit_api::Region;
use adit_operator::objects::Kind;
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::json;

fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_takes_over_without_stopping_relays() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let mut spec = spec(&cluster.namespace);
    spec["relays"] = json!({"replicas": 5});
    cluster.apply("eu", &spec).await.unwrap();
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    until("there are five", async || {
        api.get_opt("eu-relay").await.unwrap().is_some_and(|one| replicas(&one) == 5)
    })
    .await;
    let version = api.get("eu-relay").await.unwrap().metadata.resource_version.unwrap();
    spec["relays"] = json!({"autoscaling": {"min": 3, "max": 9}});
    cluster.apply("eu", &spec).await.unwrap();
    until("there is an autoscaler", async || {
        !cluster.objects(Kind::HorizontalPodAutoscaler).await.is_empty()
    })
    .await;
    cluster.wait_for("eu", "Ready", "False", "NotReady").await;
    // The autoscaler's write.
    let scale = json!({"spec": {"replicas": 7}});
    api.patch_scale("eu-relay", &PatchParams::default(), &Patch::Merge(&scale)).await.unwrap();
    // A new application of the Deployment keeps the number.
    spec["relays"]["podAnnotations"] = json!({"a": "b"});
    cluster.apply("eu", &spec).await.unwrap();
    let annotation = |one: &Deployment| {
        let template = one.spec.as_ref().map(|spec| spec.template.clone())?;
        template.metadata?.annotations?.get("a").cloned()
    };
    until("the annotation is there", async || annotation(&api.get("eu-relay").await.unwrap()).is_some())
        .await;
    assert_eq!(replicas(&api.get("eu-relay").await.unwrap()), 7);

    let mut events = std::pin::pin!(api.watch(&WatchParams::default().timeout(5), &version).await.unwrap());
    let mut seen = Vec::new();
    while let Some(Ok(WatchEvent::Modified(one))) = events.next().await {
        if one.metadata.name.as_deref() == Some("eu-relay") {
            seen.push(replicas(&one));
        }
    }
    assert!(seen.len() > 1 && seen.iter().all(|count| *count >= 5), "{seen:?}");

    // Without the autoscaler the spec's number holds again.
    spec["relays"] = json!({"replicas": 4});
    cluster.apply("eu", &spec).await.unwrap();
    until("there are four", async || replicas(&api.get("eu-relay").await.unwrap()) == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_scale_works_and_a_suspension_stops_all() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let mut spec = spec(&cluster.namespace);
    cluster.apply("eu", &spec).await.unwrap();
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    until("there are two", async || {
        api.get_opt("eu-relay").await.unwrap().is_some_and(|one| replicas(&one) == 2)
    })
    .await;
    cluster.wait_for("eu", "Ready", "False", "NotReady").await;
    let regions: Api<Region> = cluster.regions();
    let scale = regions.get_scale("eu").await.unwrap();
    assert_eq!(
        scale.status.unwrap().selector.as_deref(),
        Some("adit.dev/region=eu,app.kubernetes.io/component=relay")
    );
    let more = json!({"spec": {"replicas": 3}});
    regions.patch_scale("eu", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
    until("there are three", async || replicas(&api.get("eu-relay").await.unwrap()) == 3).await;
    spec["suspended"] = json!(true);
    cluster.apply("eu", &spec).await.unwrap();
    until("there are none", async || replicas(&api.get("eu-relay").await.unwrap()) == 0).await;
    cluster.wait_for("eu", "Ready", "False", "Suspended").await;
}
