//! What relays really serve: each one is asked by TLS, at its pod's own address, whatever it says of itself.

use super::handshake::{self, HandshakeError};
use crate::{
    apply::CALL,
    objects::pod_labels,
    pods::{is_named, pod_of},
    region::{Guarded, desired::HTTPS},
    store_view::words,
};
use adit_api::Region;
use adit_store::{RelaySeen, StoredCertificate};
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

/// How long one handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// How long all handshakes of one look may take together.
const ALL: Duration = Duration::from_secs(20);
/// How many handshakes there are at once, of all looks.
const AT_ONCE: usize = 16;
/// For how long the pods that were found are believed in: looks at several Certificates come together.
const FRESH: Duration = Duration::from_secs(2);
/// How many of a certificate's names are asked for, until one shows it.
const NAMES: usize = 3;
/// What is asked for below a wildcard; no tunnel can have this name.
const PROBE: &str = "adit-probe-certificate";

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It serves the certificate.
    Serves,
    /// It serves another one: its fingerprint.
    Other(String),
    /// It refuses the handshake.
    Refuses(String),
    /// It could not be asked. That says nothing about what it serves.
    Unasked(String),
}

/// Who was asked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The relay and its region, in words.
    pub(super) who: String,
    /// What came of it.
    pub(super) answer: Answer,
}

/// Asks relays.
pub(super) struct Inquiry {
    client: Client,
    namespace: Option<String>,
    tls: Arc<ClientConfig>,
    room: Semaphore,
    known: Mutex<Option<(Instant, Arc<Places>)>>,
}

/// The regions whose pods can be seen from here, by their domains; or why nothing can be.
type Places = Result<BTreeMap<String, Place>, String>;

/// Where a region's relays are.
#[derive(Debug, Default)]
struct Place {
    /// Names and addresses of pods.
    pods: Vec<(String, SocketAddr)>,
    /// From where load balancers connect, who have to send a PROXY header.
    trusted: Arc<[IpNet]>,
}

impl Inquiry {
    pub(super) fn new(client: Client, namespace: Option<String>) -> Result<Self, rustls::Error> {
        let (tls, room, known) = (handshake::config()?, Semaphore::new(AT_ONCE), Mutex::new(None));
        Ok(Self { client, namespace, tls, room, known })
    }

    /// Asks these relays for a certificate. Answers in the order of their names.
    pub(super) async fn ask(&self, stored: &StoredCertificate, relays: &[&RelaySeen]) -> Vec<Asked> {
        let deadline = Instant::now() + ALL;
        let names = questions(&stored.names);
        let places = self.places().await;
        let (targets, mut asked) = targets(&places, relays);
        let handshakes = stream::iter(targets).map(|(who, address, trusted)| {
            let names = &names;
            async move {
                let asking = self.ask_one(address, &trusted, names, &stored.fingerprint);
                let answer = timeout_at(deadline, asking).await;
                let late = |_| Answer::Unasked("there was no time left for it".to_owned());
                Asked { who, answer: answer.unwrap_or_else(late) }
            }
        });
        asked.extend(handshakes.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        asked.sort_by(|one, other| one.who.cmp(&other.who));
        asked
    }

    /// The first answer that shows the certificate, else the first of all.
    async fn ask_one(
        &self,
        address: SocketAddr,
        trusted: &[IpNet],
        names: &[String],
        fingerprint: &str,
    ) -> Answer {
        let mut first = None;
        for name in names {
            let _place = self.room.acquire().await;
            let is_trusted = |own: SocketAddr| trusted.iter().any(|network| network.contains(&own.ip()));
            let served = handshake::served(&self.tls, address, name, is_trusted);
            let answer = match timeout(HANDSHAKE, served).await {
                Ok(Ok(found)) if found == fingerprint => return Answer::Serves,
                Ok(Ok(found)) => Answer::Other(found),
                Ok(Err(error @ HandshakeError::Refused(..))) => Answer::Refuses(words(&error)),
                Ok(Err(error @ HandshakeError::Unreachable(..))) => return Answer::Unasked(words(&error)),
                Err(_) => {
                    let seconds = HANDSHAKE.as_secs();
                    return Answer::Unasked(format!("{address} did not answer in {seconds} s"));
                }
            };
            first.get_or_insert(answer);
        }
        first.unwrap_or_else(|| Answer::Unasked("it has no name that could be asked for".to_owned()))
    }

    async fn places(&self) -> Arc<Places> {
        let mut known = self.known.lock().await;
        if let Some((_, places)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return places.clone();
        }
        let places = match timeout(CALL, self.find()).await {
            Ok(found) => found.map_err(|error| format!("cannot see its pod: {}", words(&error))),
            Err(_) => Err("cannot see its pod: the API server does not answer".to_owned()),
        };
        let places = Arc::new(places);
        *known = Some((Instant::now(), places.clone()));
        places
    }

    async fn find(&self) -> kube::Result<BTreeMap<String, Place>> {
        let regions: Api<Guarded> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let mut places = BTreeMap::new();
        for region in
            regions.list(&ListParams::default()).await?.items.into_iter().filter_map(|one| one.0.ok())
        {
            let Some(namespace) = region.namespace() else { continue };
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            let labels = pod_labels(&region.name_any(), "relay");
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let pods = pods.list(&ListParams::default().labels(&labels.join(","))).await?;
            let place: &mut Place = places.entry(region.spec.domain.clone()).or_default();
            place.trusted = trusted(&region);
            place.pods.extend(pods.items.iter().filter_map(|pod| Some((pod.name_any(), address(pod)?))));
        }
        Ok(places)
    }
}

/// From where a region's load balancers connect.
fn trusted(region: &Region) -> Arc<[IpNet]> {
    let proxy = region.spec.exposure.proxy_protocol.iter();
    proxy.flat_map(|proxy| &proxy.trusted_cidrs).filter_map(|network| network.parse().ok()).collect()
}

/// Where a relay's pod takes TLS connections, once it has an address.
fn address(pod: &Pod) -> Option<SocketAddr> {
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let mut ports =
        pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some("https"));
    let port = named.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(HTTPS);
    Some(SocketAddr::new(address, port))
}

/// A pod to be asked: who it is in words, where, and from where its load balancers connect.
type Target = (String, SocketAddr, Arc<[IpNet]>);

/// The pods to be asked, each once, and the relays that cannot be.
fn targets(places: &Places, relays: &[&RelaySeen]) -> (Vec<Target>, Vec<Asked>) {
    let mut found: BTreeMap<String, (SocketAddr, Arc<[IpNet]>)> = BTreeMap::new();
    let mut unasked = Vec::new();
    for relay in relays {
        let own = pod_of(&relay.relay);
        let pods = places.as_ref().map_err(String::clone).and_then(|places| {
            let place = places.get(&relay.region).ok_or("its Region is not in this cluster")?;
            let is_its = |(name, _): &&(String, SocketAddr)| own.is_some_and(|own| is_named(name, own));
            let pods: Vec<_> = place.pods.iter().filter(is_its).collect();
            if pods.is_empty() { Err("it has no pod with an address".to_owned()) } else { Ok((pods, place)) }
        });
        match pods {
            Ok((pods, place)) => found.extend(pods.into_iter().map(|(name, address)| {
                (format!("{name} of {}", relay.region), (*address, place.trusted.clone()))
            })),
            Err(why) => unasked.push(Asked {
                who: format!("{} of {}", relay.relay, relay.region),
                answer: Answer::Unasked(why),
            }),
        }
    }
    (found.into_iter().map(|(who, (address, trusted))| (who, address, trusted)).collect(), unasked)
}

/// The server names to ask for. What is below a wildcard goes first: it is never a tunnel's.
fn questions(names: &[String]) -> Vec<String> {
    let (wild, plain): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.starts_with("*."));
    let wild = wild.into_iter().map(|name| name.replacen('*', PROBE, 1));
    wild.chain(plain.into_iter().cloned()).take(NAMES).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
