//! The rows as requests read them.

use super::Row;
use adit_protocol::Endpoint;
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// A change copies the rows of one shard: with 100,000 rows about 400 pointers, a few microseconds.
const SHARDS: usize = 256;

type Hosts = HashMap<Arc<str>, Arc<Row>>;
type Ports = HashMap<u16, Arc<Row>>;

/// What is to be in the place of each key.
type Views<K> = Vec<(K, Option<Row>)>;

/// Rows by host and by port. Readers take no lock; there is one writer at a time, which the caller ensures.
#[derive(Debug)]
pub(super) struct Shards {
    hasher: RandomState,
    hosts: Box<[ArcSwap<Hosts>]>,
    ports: ArcSwap<Ports>,
}

impl Default for Shards {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            hosts: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            ports: ArcSwap::default(),
        }
    }
}

impl Shards {
    pub(super) fn host(&self, host: &str) -> Option<Arc<Row>> {
        self.hosts[self.shard(host)].load().get(host).cloned()
    }

    pub(super) fn port(&self, port: u16) -> Option<Arc<Row>> {
        self.ports.load().get(&port).cloned()
    }

    fn shard(&self, host: &str) -> usize {
        // The remainder is below SHARDS, so that the cast loses nothing that is needed.
        (self.hasher.hash_one(host) % SHARDS as u64) as usize
    }

    /// Puts the views in place, each shard in one step, and says of each that differs what it was and is.
    ///
    /// Returns whether any differed.
    pub(super) fn replace(
        &self,
        views: impl Iterator<Item = (Endpoint, Option<Row>)>,
        mut note: impl FnMut(Option<&Row>, Option<&Row>),
    ) -> bool {
        let mut hosts: BTreeMap<usize, Views<Arc<str>>> = BTreeMap::new();
        let mut ports = Vec::new();
        for (endpoint, view) in views {
            match endpoint {
                Endpoint::Host(host) => hosts.entry(self.shard(&host)).or_default().push((host, view)),
                Endpoint::Tcp(port) => ports.push((port, view)),
            }
        }
        let mut changed = replace_in(&self.ports, ports, &mut note);
        for (shard, views) in hosts {
            changed |= replace_in(&self.hosts[shard], views, &mut note);
        }
        changed
    }
}

fn replace_in<K: Clone + Eq + std::hash::Hash>(
    place: &ArcSwap<HashMap<K, Arc<Row>>>,
    views: Views<K>,
    note: &mut impl FnMut(Option<&Row>, Option<&Row>),
) -> bool {
    let before = place.load_full();
    let differing: Vec<_> =
        views.into_iter().filter(|(key, view)| before.get(key).map(AsRef::as_ref) != view.as_ref()).collect();
    if differing.is_empty() {
        return false;
    }
    let mut after = HashMap::clone(&before);
    for (key, view) in differing {
        note(after.get(&key).map(AsRef::as_ref), view.as_ref());
        match view {
            Some(row) => after.insert(key, Arc::new(row)),
            None => after.remove(&key),
        };
    }
    place.store(Arc::new(after));
    true
}
