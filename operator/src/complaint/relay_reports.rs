//! The relays' reports: which version of the suspensions each has confirmed, and which relays are proven gone.

use crate::{
    api_server::{CallError, call, scoped_api},
    error_chain::error_chain,
    objects::pod_selector,
    pods::{has_name_prefix, pod_name_prefix},
};
use adit_api::Region;
use adit_store::{RelayStatus, Store, StoreError};
use adit_system::POISONED;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PartialObjectMeta},
};
use std::{
    collections::{HashMap, HashSet},
    sync::RwLock,
};

/// Age of a relay's last report at which it may be gone, in seconds.
const MAX_REPORT_AGE_SECONDS: u64 = 30;

/// The relays' last reports; `None` before the first read and while the store is unavailable.
#[derive(Debug, Default)]
pub(super) struct RelayReports(RwLock<Option<Vec<RelayStatus>>>);

impl RelayReports {
    /// The reports, as they were last read.
    pub(super) fn get(&self) -> Option<Vec<RelayStatus>> {
        self.0.read().expect(POISONED).clone()
    }

    /// Reads the reports. Returns whether a relay has appeared, gone or confirmed something since the last read.
    pub(super) async fn read(&self, store: &Store) -> Result<bool, StoreError> {
        let read = store.relays_seen().await;
        let mut relays = self.0.write().expect(POISONED);
        match read {
            Ok(read) => {
                let changed =
                    relays.as_deref().is_none_or(|old| confirmed_versions(old) != confirmed_versions(&read));
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

fn confirmed_versions(relays: &[RelayStatus]) -> Vec<(&str, &str, u64)> {
    relays.iter().map(|one| (one.region.as_str(), one.relay.as_str(), one.suspensions_version)).collect()
}

/// Removes relays from the store that are proven gone: their pod does not exist any more, or runs another process. A relay
/// without recent reports may still run, and nothing is known of regions in other clusters.
pub(super) async fn remove_lost_relays(
    client: &Client,
    namespace: Option<&str>,
    store: &Store,
    reports: &RelayReports,
    now: u64,
) {
    let all = reports.get().unwrap_or_default();
    if !all.iter().any(|one| now.saturating_sub(one.seen) >= MAX_REPORT_AGE_SECONDS) {
        return;
    }
    let pods = match pod_names(client, namespace).await {
        Ok(pods) => pods,
        Err(error) => {
            tracing::debug!(error = error_chain(&error), "cannot list the relays' pods; retrying");
            return;
        }
    };
    for relay in lost_relays(&all, &pods, now) {
        tracing::info!(region = relay.region, relay = %relay.relay, "relay lost: its pod is gone");
        if let Err(error) = store.relay_gone(&relay.region, &relay.relay).await {
            tracing::debug!(
                error = error_chain(&error),
                "cannot remove a lost relay from the store; retrying"
            );
        }
    }
}

/// The names of the relays' pods of each Region, by its domain.
async fn pod_names(
    client: &Client,
    namespace: Option<&str>,
) -> Result<HashMap<String, HashSet<String>>, CallError> {
    let api = scoped_api::<Region>(client, namespace);
    let regions = call("list", "Regions", api.list(&ListParams::default())).await?;
    let mut pods = HashMap::new();
    for region in regions {
        let namespace = region.namespace().unwrap_or_default();
        let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), &namespace);
        let params = ListParams::default().labels(&pod_selector(&region.name_any(), "relay"));
        let list = call("list", "the relays' Pods", api.list_metadata(&params)).await?;
        pods.insert(region.spec.domain.clone(), list.items.iter().map(ResourceExt::name_any).collect());
    }
    Ok(pods)
}

/// The relays that are proven gone.
fn lost_relays<'a>(
    relays: &'a [RelayStatus],
    pods: &HashMap<String, HashSet<String>>,
    now: u64,
) -> Vec<&'a RelayStatus> {
    let is_lost = |relay: &&RelayStatus| {
        let is_silent = now.saturating_sub(relay.seen) >= MAX_REPORT_AGE_SECONDS;
        let (Some(names), Some(prefix)) = (pods.get(&relay.region), pod_name_prefix(&relay.relay)) else {
            return false;
        };
        let exists = names.iter().any(|name| has_name_prefix(name, prefix));
        let has_successor = relays.iter().any(|other| {
            other.region == relay.region
                && other.started > relay.started
                && pod_name_prefix(&other.relay) == Some(prefix)
        });
        is_silent && (!exists || has_successor)
    };
    relays.iter().filter(is_lost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_lost_when_its_pod_is_gone() {
        let relay = |region: &str, id: &str, started, seen| RelayStatus {
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
        let found: Vec<&str> =
            lost_relays(&relays, &pods, 1000).iter().map(|one| one.relay.as_str()).collect();
        // The pod of the first exists, although it is silent; the fifth has reported a moment ago.
        assert_eq!(found, ["eu-relay-7c9f-fghij-34cd", "eu-relay-7c9f-klmno-0001"]);
    }
}
