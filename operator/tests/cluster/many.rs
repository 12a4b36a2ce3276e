//! Many Regions: all are reconciled, and then nothing is written.

use crate::{
    cluster::{Cluster, spec, until_within},
    cutting_proxy::CuttingProxy,
};
use adit_testkit::soak::{Record, scale, soaking};
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::time::Duration;

/// Maximum memory of the operator.
const MOST_MIB: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settled_regions_cause_no_writes() {
    let count = scale(30, 1_000);
    let cluster = Cluster::new().await;
    stream::iter(0..count)
        .for_each_concurrent(16, async |number| {
            let name = format!("r{number}");
            let mut spec = spec(&cluster.namespace);
            spec["domain"] = json!(format!("{name}.{}.example.com", cluster.namespace));
            cluster.apply(&name, &spec).await.unwrap();
        })
        .await;
    let proxy = CuttingProxy::start(cluster.client.clone(), None).await;
    let record = Record::begin("many Regions, from cold");
    let mut operator = cluster.operator_at(&proxy.url);
    until_within(Duration::from_secs(600), "all are made", async || {
        let regions = cluster.regions().list(&Default::default()).await.unwrap();
        regions.items.len() == count
            && regions.items.iter().all(|region| {
                region.status.as_ref().is_some_and(|status| {
                    status.config_revision.is_some()
                        && status.condition("Ready").is_some_and(|ready| ready.reason == "NotReady")
                })
            })
    })
    .await;
    record.end(format!(
        "{count} Regions, {} writes, {} MiB at most",
        proxy.writes(),
        most_memory(operator.pid())
    ));
    // Pending reconciliations write at most once more.
    let mut before = proxy.writes();
    until_within(Duration::from_secs(120), "nothing is written for a while", async || {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = proxy.writes();
        std::mem::replace(&mut before, now) == now
    })
    .await;
    let record = Record::begin("many Regions, in a steady state");
    let watched = scale(Duration::from_secs(10), Duration::from_secs(300));
    tokio::time::sleep(watched).await;
    let written = proxy.writes() - before;
    let memory = most_memory(operator.pid());
    record.end(format!("{count} Regions, {written} writes, {memory} MiB at most"));
    assert_eq!(written, 0, "{}", cluster.log());
    assert!(!soaking() || memory < MOST_MIB, "{memory} MiB");
    assert!(operator.is_running());
}

/// The peak memory of a process, in MiB.
fn most_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}
