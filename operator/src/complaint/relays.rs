//! Which relays have confirmed which version, and which are proven gone.

use crate::{
    objects::{COMPONENT_LABEL, REGION_LABEL},
    pods::{is_named, pod_of},
};
use adit_api::Region;
use adit_store::{RelaySeen, Store, StoreError};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PartialObjectMeta},
};
use std::{
    collections::{HashMap, HashSet},
    sync::RwLock,
    time::Duration,
};

/// A relay that has said nothing for so long may be gone.
const SILENT_SECONDS: u64 = 30;
/// How long the API server may take to say which pods there are.
const CALL: Duration = Duration::from_secs(10);
const POISONED: &str = "no code panics while it holds this lock";

/// The relays as they were last read; nothing while they have not been read or the store is away.
#[derive(Debug, Default)]
pub(super) struct Relays(RwLock<Option<Vec<RelaySeen>>>);

impl Relays {
    pub(super) fn get(&self) -> Option<Vec<RelaySeen>> {
        self.0.read().expect(POISONED).clone()
    }

    /// Reads them anew. Answers whether one has come, gone or confirmed something since the last time.
    pub(super) async fn read(&self, store: &Store) -> Result<bool, StoreError> {
        let read = store.relays_seen().await;
        let mut relays = self.0.write().expect(POISONED);
        match read {
            Ok(read) => {
                let changed = relays.as_deref().is_none_or(|old| gist(old) != gist(&read));
                *relays = Some(read);
                Ok(changed)
            }
            Err(error) => {
                *relays = None;
                Err(error)
            }
        }
    }
}

fn gist(relays: &[RelaySeen]) -> Vec<(&str, &str, u64)> {
    relays.iter().map(|one| (one.region.as_str(), one.relay.as_str(), one.suspensions_version)).collect()
}

/// Takes those out of the store that are proven gone: their pod is not there any more, or runs another process. Silence
/// alone proves nothing, and of another cluster's regions nothing is known.
pub(super) async fn take_out_the_gone(
    client: &Client,
    namespace: Option<&str>,
    store: &Store,
    relays: &Relays,
    now: u64,
) {
    let all = relays.get().unwrap_or_default();
    if !all.iter().any(|one| now.saturating_sub(one.seen) >= SILENT_SECONDS) {
        return;
    }
    let Some(pods) = pods(client, namespace).await else { return };
    for relay in gone(&all, &pods, now) {
        tracing::info!(region = relay.region, relay = %relay.relay, "a relay is gone: its pod is");
        if let Err(error) = store.relay_gone(&relay.region, &relay.relay).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "it stays in the store for now");
        }
    }
}

/// The names of the pods of each Region that there is here, by its domain.
async fn pods(client: &Client, namespace: Option<&str>) -> Option<HashMap<String, HashSet<String>>> {
    let regions: Api<Region> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let params = ListParams::default();
    let regions = tokio::time::timeout(CALL, regions.list(&params)).await.ok()?.ok()?;
    let mut pods = HashMap::new();
    for region in regions {
        let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), &region.namespace()?);
        let labels = format!("{REGION_LABEL}={},{COMPONENT_LABEL}=relay", region.name_any());
        let params = ListParams::default().labels(&labels);
        let list = tokio::time::timeout(CALL, api.list_metadata(&params)).await.ok()?.ok()?;
        let names = list.items.iter().map(ResourceExt::name_any).collect();
        pods.insert(region.spec.domain.clone(), names);
    }
    Some(pods)
}

/// Those that are proven gone.
fn gone<'a>(
    relays: &'a [RelaySeen],
    pods: &HashMap<String, HashSet<String>>,
    now: u64,
) -> Vec<&'a RelaySeen> {
    let is_gone = |relay: &&RelaySeen| {
        let silent = now.saturating_sub(relay.seen) >= SILENT_SECONDS;
        let (Some(there), Some(own)) = (pods.get(&relay.region), pod_of(&relay.relay)) else { return false };
        let is_there = there.iter().any(|name| is_named(name, own));
        let has_successor = relays.iter().any(|other| {
            other.region == relay.region && other.started > relay.started && pod_of(&other.relay) == Some(own)
        });
        silent && (!is_there || has_successor)
    };
    relays.iter().filter(is_gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_gone_when_its_pod_is_and_not_because_it_is_silent() {
        let relay = |region: &str, id: &str, started, seen| RelaySeen {
            region: region.to_owned(),
            relay: id.parse().unwrap(),
            started,
            seen,
            suspensions_version: 0,
            config_revision: String::new(),
            config_refused: None,
            draining: false,
            sessions: 0,
            tunnels: 0,
            registry_up: true,
            challenges_version: 0,
            served: vec![],
            certificate_problem: None,
        };
        let relays = [
            relay("eu", "eu-relay-7c9f-abcde-12ab", 10, 950),
            relay("eu", "eu-relay-7c9f-fghij-34cd", 10, 950),
            relay("eu", "eu-relay-7c9f-klmno-0001", 10, 950),
            relay("eu", "eu-relay-7c9f-klmno-0002", 20, 999),
            relay("eu", "eu-relay-7c9f-pqrst-0003", 20, 975),
            relay("us", "us-relay-1-abcde-12ab", 10, 1),
            relay("eu", "by-hand", 10, 1),
        ];
        let names = ["eu-relay-7c9f-abcde", "eu-relay-7c9f-klmno"].map(str::to_owned);
        let pods = HashMap::from([("eu".to_owned(), HashSet::from(names))]);
        let found: Vec<&str> = gone(&relays, &pods, 1000).iter().map(|one| one.relay.as_str()).collect();
        // The first is silent, and its pod is there; the fifth has said something a moment ago.
        assert_eq!(found, ["eu-relay-7c9f-fghij-34cd", "eu-relay-7c9f-klmno-0001"]);
    }
}
