//! Verifies what relays serve: a TLS handshake with each relay's pod, whatever the relay reports.

use super::handshake::{self, HandshakeError};
use crate::{
    api_server::{CallError, call, scoped_api},
    controller::Guarded,
    error_chain::error_chain,
    objects::pod_selector,
    pods::{has_name_prefix, pod_name_prefix},
    region::desired::HTTPS_PORT,
};
use adit_api::Region;
use adit_store::{RelayStatus, StoredCertificate};
use futures_util::{StreamExt, stream};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use rustls::ClientConfig;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// Maximum duration of one handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum duration of all handshakes for one Certificate.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum handshakes at once, for all Certificates.
const MAX_HANDSHAKES: usize = 16;
/// How long the list of pods is used again: Certificates are often reconciled together.
const POD_CACHE_TTL: Duration = Duration::from_secs(2);
/// Maximum names of a certificate that are tried, until one shows the certificate.
const MAX_TRIED_NAMES: usize = 3;
/// The label that is tried below a wildcard. No tunnel can have this name.
const PROBE_LABEL: &str = "adit-probe-certificate";

/// What a handshake with a relay showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeOutcome {
    /// The relay serves the certificate.
    Serves,
    /// The relay serves another certificate, with this fingerprint.
    ServesOther(String),
    /// The relay refused the handshake, for this reason.
    Refuses(String),
    /// The relay could not be probed, for this reason. That says nothing about what it serves.
    NotProbed(String),
}

/// The outcome of the probe of one relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeResult {
    /// The relay and its region, for messages.
    pub(super) relay: String,
    /// What the handshake showed.
    pub(super) outcome: ProbeOutcome,
}

/// Probes relays by TLS.
pub(super) struct RelayProber {
    client: Client,
    namespace: Option<String>,
    tls: Arc<ClientConfig>,
    handshakes: Semaphore,
    cache: Mutex<Option<(Instant, Arc<RegionPods>)>>,
}

/// The pods of each Region by its domain; or why they are not known.
type RegionPods = Result<BTreeMap<String, RelayPods>, String>;

/// The relays' pods of a Region.
#[derive(Debug, Default)]
struct RelayPods {
    /// The pods' names and addresses.
    pods: Vec<(String, SocketAddr)>,
    /// The networks from which relays expect a PROXY header.
    load_balancers: Arc<[IpNet]>,
}

/// A pod to probe.
#[derive(Clone, Debug)]
struct Target {
    relay: String,
    address: SocketAddr,
    load_balancers: Arc<[IpNet]>,
}

impl RelayProber {
    pub(super) fn new(client: Client, namespace: Option<String>) -> Result<Self, rustls::Error> {
        let tls = handshake::client_config()?;
        Ok(Self {
            client,
            namespace,
            tls,
            handshakes: Semaphore::new(MAX_HANDSHAKES),
            cache: Mutex::default(),
        })
    }

    /// Probes these relays for a certificate. Returns the results in the order of the relays' names.
    pub(super) async fn probe(
        &self,
        stored: &StoredCertificate,
        relays: &[&RelayStatus],
    ) -> Vec<ProbeResult> {
        let deadline = Instant::now() + PROBE_TIMEOUT;
        let names = &server_names(&stored.names);
        let (targets, mut results) = targets(self.region_pods().await.as_ref(), relays);
        let probes = stream::iter(targets).map(|target| async move {
            let outcome = timeout_at(deadline, self.probe_one(&target, names, &stored.fingerprint)).await;
            let overdue = |_| ProbeOutcome::NotProbed("no time was left".to_owned());
            ProbeResult { relay: target.relay, outcome: outcome.unwrap_or_else(overdue) }
        });
        results.extend(probes.buffer_unordered(MAX_HANDSHAKES).collect::<Vec<_>>().await);
        results.sort_by(|one, other| one.relay.cmp(&other.relay));
        results
    }

    /// The outcome of the first name that shows the certificate, else that of the first name.
    async fn probe_one(&self, target: &Target, names: &[String], fingerprint: &str) -> ProbeOutcome {
        let address = target.address;
        let is_load_balancer =
            |own: SocketAddr| target.load_balancers.iter().any(|network| network.contains(&own.ip()));
        let mut first = None;
        for name in names {
            let _permit = self.handshakes.acquire().await;
            let served = handshake::served_fingerprint(&self.tls, address, name, is_load_balancer);
            let outcome = match timeout(HANDSHAKE_TIMEOUT, served).await {
                Ok(Ok(found)) if found == fingerprint => return ProbeOutcome::Serves,
                Ok(Ok(found)) => ProbeOutcome::ServesOther(found),
                Ok(Err(error @ HandshakeError::Refused(..))) => ProbeOutcome::Refuses(error_chain(&error)),
                Ok(Err(error @ HandshakeError::Unreachable(..))) => {
                    return ProbeOutcome::NotProbed(error_chain(&error));
                }
                Err(_) => {
                    let seconds = HANDSHAKE_TIMEOUT.as_secs();
                    return ProbeOutcome::NotProbed(format!("{address} did not answer within {seconds} s"));
                }
            };
            first.get_or_insert(outcome);
        }
        first.unwrap_or_else(|| ProbeOutcome::NotProbed("the certificate has no name to try".to_owned()))
    }

    async fn region_pods(&self) -> Arc<RegionPods> {
        let mut cache = self.cache.lock().await;
        if let Some((_, pods)) = cache.as_ref().filter(|(at, _)| at.elapsed() < POD_CACHE_TTL) {
            return pods.clone();
        }
        let found = self.list_pods().await;
        let pods = Arc::new(found.map_err(|error| format!("cannot find its pod: {}", error_chain(&error))));
        *cache = Some((Instant::now(), pods.clone()));
        pods
    }

    async fn list_pods(&self) -> Result<BTreeMap<String, RelayPods>, CallError> {
        let api = scoped_api::<Guarded<Region>>(&self.client, self.namespace.as_deref());
        let regions = call("list", "Regions", api.list(&ListParams::default())).await?;
        let mut found: BTreeMap<String, RelayPods> = BTreeMap::new();
        for region in regions.items.into_iter().filter_map(|guarded| guarded.0.ok()) {
            let Some(namespace) = region.namespace() else { continue };
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            let params = ListParams::default().labels(&pod_selector(&region.name_any(), "relay"));
            let pods = call("list", "the relays' Pods", api.list(&params)).await?;
            let relays = found.entry(region.spec.domain.clone()).or_default();
            relays.load_balancers = load_balancers(&region);
            relays.pods.extend(pods.items.iter().filter_map(|pod| Some((pod.name_any(), address(pod)?))));
        }
        Ok(found)
    }
}

/// The networks of a region's load balancers.
fn load_balancers(region: &Region) -> Arc<[IpNet]> {
    let proxy = region.spec.exposure.proxy_protocol.iter();
    proxy.flat_map(|proxy| &proxy.trusted_cidrs).filter_map(|network| network.parse().ok()).collect()
}

/// Where a relay's pod accepts TLS connections; `None` before the pod has an address.
fn address(pod: &Pod) -> Option<SocketAddr> {
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let mut ports =
        pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some("https"));
    let port = named.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(HTTPS_PORT);
    Some(SocketAddr::new(address, port))
}

/// The pods to probe, each once, and the results of the relays that cannot be probed.
fn targets(regions: &RegionPods, relays: &[&RelayStatus]) -> (Vec<Target>, Vec<ProbeResult>) {
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    let mut not_probed = Vec::new();
    for relay in relays {
        match pods_of(regions, relay) {
            Ok((pods, load_balancers)) => targets.extend(pods.into_iter().map(|(name, address)| {
                let target = Target {
                    relay: format!("{name} of {}", relay.region),
                    address: *address,
                    load_balancers: load_balancers.clone(),
                };
                (target.relay.clone(), target)
            })),
            Err(reason) => not_probed.push(ProbeResult {
                relay: format!("{} of {}", relay.relay, relay.region),
                outcome: ProbeOutcome::NotProbed(reason),
            }),
        }
    }
    (targets.into_values().collect(), not_probed)
}

/// A pod's name and address.
type NamedPod = (String, SocketAddr);

/// The pods that may run a relay, and the load balancers of its region.
fn pods_of<'a>(
    regions: &'a RegionPods,
    relay: &RelayStatus,
) -> Result<(Vec<&'a NamedPod>, &'a Arc<[IpNet]>), String> {
    let regions = regions.as_ref().map_err(String::clone)?;
    let region = regions.get(&relay.region).ok_or("its Region is not in this cluster")?;
    let prefix = pod_name_prefix(&relay.relay);
    let runs_relay = |(name, _): &&NamedPod| prefix.is_some_and(|prefix| has_name_prefix(name, prefix));
    let pods: Vec<_> = region.pods.iter().filter(runs_relay).collect();
    if pods.is_empty() {
        Err("it has no pod with an address".to_owned())
    } else {
        Ok((pods, &region.load_balancers))
    }
}

/// The server names to try. Names below a wildcard come first, because no tunnel has them.
fn server_names(names: &[String]) -> Vec<String> {
    let (wildcards, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.starts_with("*."));
    let below_wildcards = wildcards.into_iter().map(|name| name.replacen('*', PROBE_LABEL, 1));
    below_wildcards.chain(others.into_iter().cloned()).take(MAX_TRIED_NAMES).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
