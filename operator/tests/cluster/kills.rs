//! The operator is killed at each of its writes; the next one reaches the same state.

use crate::{
    cluster::{Cluster, MAX_WAIT, spec, until},
    cutting_proxy::{CutPoint, CuttingProxy},
};
use adit_operator::objects::Kind;
use futures_util::{StreamExt, stream};
use kube::api::DeleteParams;
use std::time::{Duration, Instant};

/// How many operators are killed at the same time.
const AT_ONCE: usize = 4;

/// Whether all objects exist and the status is written.
async fn is_made(cluster: &Cluster) -> bool {
    let region = cluster.regions().get("eu").await.unwrap();
    let said = region.status.is_some_and(|status| {
        status.config_revision.is_some()
            && status.condition("Ready").is_some_and(|ready| ready.reason == "NotReady")
    });
    said && cluster.names().await.len() == 16
}

async fn is_gone(cluster: &Cluster) -> bool {
    cluster.regions().get_opt("eu").await.unwrap().is_none() && cluster.names().await.is_empty()
}

/// Runs an operator until it is cut off or the Region is complete, and kills it.
async fn run_into(cluster: &Cluster, cut: Option<(usize, CutPoint)>, done: impl AsyncFn() -> bool) -> usize {
    let proxy = CuttingProxy::start(cluster.client.clone(), cut).await;
    let mut operator = cluster.operator_at(&proxy.url);
    let end = Instant::now() + MAX_WAIT;
    while !proxy.is_reached() && !done().await {
        assert!(Instant::now() < end, "{cut:?}: {}", cluster.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    operator.kill();
    proxy.writes()
}

async fn killed_while_making(cut: (usize, CutPoint)) {
    let cluster = Cluster::new().await;
    cluster.apply("eu", &spec(&cluster.namespace)).await.unwrap();
    run_into(&cluster, Some(cut), async || is_made(&cluster).await).await;
    let before = cluster.objects(Kind::Secret).await;
    let _operator = cluster.operator();
    until(&format!("{cut:?}: all is made"), async || is_made(&cluster).await).await;
    let after = cluster.objects(Kind::Secret).await;
    for (name, secret) in before {
        assert_eq!(secret["data"], after[&name]["data"], "{cut:?}: {name} was made twice");
    }
}

async fn killed_while_deleting(cut: (usize, CutPoint)) {
    let cluster = Cluster::new().await;
    cluster.apply("eu", &spec(&cluster.namespace)).await.unwrap();
    run_into(&cluster, None, async || is_made(&cluster).await).await;
    cluster.regions().delete("eu", &DeleteParams::default()).await.unwrap();
    run_into(&cluster, Some(cut), async || is_gone(&cluster).await).await;
    let _operator = cluster.operator();
    until(&format!("{cut:?}: all is gone"), async || is_gone(&cluster).await).await;
}

fn cuts(writes: usize) -> impl Iterator<Item = (usize, CutPoint)> {
    (1..=writes).flat_map(|write| [(write, CutPoint::Before), (write, CutPoint::After)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_while_it_makes_a_region() {
    let cluster = Cluster::new().await;
    cluster.apply("eu", &spec(&cluster.namespace)).await.unwrap();
    let writes = run_into(&cluster, None, async || is_made(&cluster).await).await;
    assert!((18..30).contains(&writes), "finalizer, 16 objects, status: {writes}");
    stream::iter(cuts(writes)).for_each_concurrent(AT_ONCE, killed_while_making).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_while_it_deletes_a_region() {
    let cluster = Cluster::new().await;
    cluster.apply("eu", &spec(&cluster.namespace)).await.unwrap();
    run_into(&cluster, None, async || is_made(&cluster).await).await;
    cluster.regions().delete("eu", &DeleteParams::default()).await.unwrap();
    let writes = run_into(&cluster, None, async || is_gone(&cluster).await).await;
    assert!((17..25).contains(&writes), "16 objects, finalizer: {writes}");
    stream::iter(cuts(writes)).for_each_concurrent(AT_ONCE, killed_while_deleting).await;
}
