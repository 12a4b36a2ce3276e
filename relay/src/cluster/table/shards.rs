//! The rows as requests read them.

use crate::cluster::row::Row;
use adit_protocol::Endpoint;
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// A change copies the rows of one shard: with 100,000 rows about 400 pointers, a few microseconds.
const SHARDS: usize = 256;

type Rows = HashMap<Endpoint, Arc<Row>>;

/// The new row of each endpoint, or `None` if it has none any more.
type Views = Vec<(Endpoint, Option<Row>)>;

/// Rows by endpoint. Readers take no lock; there is one writer at a time, which the caller ensures.
#[derive(Debug)]
pub(super) struct Shards {
    hasher: RandomState,
    shards: Box<[ArcSwap<Rows>]>,
}

impl Default for Shards {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| ArcSwap::default()).collect() }
    }
}

impl Shards {
    pub(super) fn row(&self, endpoint: &Endpoint) -> Option<Arc<Row>> {
        self.shards[self.shard(endpoint)].load().get(endpoint).cloned()
    }

    fn shard(&self, endpoint: &Endpoint) -> usize {
        // The remainder is below SHARDS, so that the cast loses nothing that is needed.
        (self.hasher.hash_one(endpoint) % SHARDS as u64) as usize
    }

    /// Puts the views in place, each shard in one step, and passes each row that differs to `note`, before and after.
    ///
    /// Returns whether any differed.
    pub(super) fn replace(
        &self,
        views: impl Iterator<Item = (Endpoint, Option<Row>)>,
        mut note: impl FnMut(Option<&Row>, Option<&Row>),
    ) -> bool {
        let mut by_shard: BTreeMap<usize, Views> = BTreeMap::new();
        for (endpoint, view) in views {
            by_shard.entry(self.shard(&endpoint)).or_default().push((endpoint, view));
        }
        let mut changed = false;
        for (shard, views) in by_shard {
            changed |= replace_in(&self.shards[shard], views, &mut note);
        }
        changed
    }
}

fn replace_in(
    place: &ArcSwap<Rows>,
    views: Views,
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
