//! The metadata of the operator's objects, from one watch per kind. Their content is not kept.

use crate::{
    error_chain::error_chain,
    namespaced_name::NamespacedName,
    objects::{Kind, MANAGED_BY, REGION_LABEL},
};
use adit_system::POISONED;
use futures_util::StreamExt;
use kube::{
    Api, Client,
    api::{DynamicObject, ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, RwLock},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The parts of an object's metadata that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Its uid.
    pub(crate) uid: String,
    /// Its resource version.
    pub(crate) resource_version: String,
    /// Its generation, for kinds that have one.
    pub(crate) generation: Option<i64>,
    /// The uid of the Region that controls it.
    pub(crate) owner: Option<String>,
    /// Whether it is being deleted.
    pub(crate) is_deleting: bool,
    /// A digest of its labels and annotations.
    pub(crate) marks: u64,
}

impl Meta {
    /// The kept parts of `meta`.
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut marks = DefaultHasher::new();
        // A Deployment's controller counts its revisions in an annotation.
        let own = |(name, _): &(&String, &String)| !name.starts_with("deployment.kubernetes.io/");
        meta.annotations.iter().flatten().filter(own).for_each(|mark| mark.hash(&mut marks));
        meta.labels.iter().flatten().for_each(|mark| mark.hash(&mut marks));
        let owners = meta.owner_references.iter().flatten();
        let owner =
            owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()).next();
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation,
            owner,
            is_deleting: meta.deletion_timestamp.is_some(),
            marks: marks.finish(),
        }
    }

    /// Whether the object is as it was after the operator applied it.
    pub(crate) fn is_as(&self, applied: &Self, kind: Kind) -> bool {
        let same = if kind.has_generation() {
            self.generation == applied.generation && self.marks == applied.marks
        } else {
            self.resource_version == applied.resource_version
        };
        same && self.uid == applied.uid && self.owner == applied.owner && !self.is_deleting
    }
}

type ByName = BTreeMap<(Kind, String), Meta>;

/// The metadata of all objects that the operator has applied, by Region.
#[derive(Debug, Default)]
pub(crate) struct Children {
    regions: RwLock<HashMap<NamespacedName, ByName>>,
}

impl Children {
    /// The metadata of one object.
    pub(crate) fn get(&self, region: &NamespacedName, kind: Kind, name: &str) -> Option<Meta> {
        let regions = self.regions.read().expect(POISONED);
        regions.get(region)?.get(&(kind, name.to_owned())).cloned()
    }

    /// The objects of one Region.
    pub(crate) fn of(&self, region: &NamespacedName) -> Vec<(Kind, String, Meta)> {
        let regions = self.regions.read().expect(POISONED);
        let all = regions.get(region).into_iter().flatten();
        all.map(|((kind, name), meta)| (*kind, name.clone(), meta.clone())).collect()
    }

    fn put(&self, kind: Kind, object: &ObjectMeta) -> Option<NamespacedName> {
        let (region, name) = region_of(object)?;
        let mut regions = self.regions.write().expect(POISONED);
        regions.entry(region.clone()).or_default().insert((kind, name), Meta::of(object));
        Some(region)
    }

    fn take(&self, kind: Kind, object: &ObjectMeta) -> Option<NamespacedName> {
        let (region, name) = region_of(object)?;
        let mut regions = self.regions.write().expect(POISONED);
        if let Some(names) = regions.get_mut(&region) {
            names.remove(&(kind, name));
            if names.is_empty() {
                regions.remove(&region);
            }
        }
        Some(region)
    }

    /// Forgets the objects of a kind that a new list does not have. Returns their Regions.
    fn retain(&self, kind: Kind, seen: &HashSet<(NamespacedName, String)>) -> Vec<NamespacedName> {
        let mut regions = self.regions.write().expect(POISONED);
        let mut changed = Vec::new();
        for (region, names) in regions.iter_mut() {
            let before = names.len();
            names.retain(|(of, name), _| *of != kind || seen.contains(&(region.clone(), name.clone())));
            if names.len() != before {
                changed.push(region.clone());
            }
        }
        regions.retain(|_, names| !names.is_empty());
        changed
    }
}

fn region_of(object: &ObjectMeta) -> Option<(NamespacedName, String)> {
    let region = object.labels.as_ref()?.get(REGION_LABEL)?;
    Some((NamespacedName::new(object.namespace.as_ref()?, region), object.name.clone()?))
}

/// Tells when each kind has been listed once.
#[derive(Clone, Debug)]
pub(crate) struct Synced(Vec<watch::Receiver<bool>>);

impl Synced {
    /// Waits until all kinds have been listed.
    pub(crate) async fn all(&mut self) {
        for one in &mut self.0 {
            // The sender ends with its watch, and that with the process.
            let _ = one.wait_for(|synced| *synced).await;
        }
    }
}

/// Watches every kind until `stop`, and sends each Region whose objects have changed to `changed`.
pub(crate) fn watch(
    client: &Client,
    namespace: Option<&str>,
    children: &Arc<Children>,
    changed: &mpsc::Sender<NamespacedName>,
    stop: &CancellationToken,
) -> Synced {
    let watches = Kind::ALL.map(|kind| {
        let resource = kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let (synced, is_synced) = watch::channel(false);
        let follow = follow(kind, api, children.clone(), changed.clone(), synced);
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! { () = follow => {}, () = stop.cancelled() => {} }
        });
        is_synced
    });
    Synced(watches.into())
}

async fn follow(
    kind: Kind,
    api: Api<PartialObjectMeta<DynamicObject>>,
    children: Arc<Children>,
    changed: mpsc::Sender<NamespacedName>,
    synced: watch::Sender<bool>,
) {
    let selector = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
    let config = watcher::Config::default().labels(&selector);
    let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        let regions = match event {
            Ok(Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(Event::InitApply(object)) => {
                listed.extend(region_of(&object.metadata));
                children.put(kind, &object.metadata).into_iter().collect()
            }
            Ok(Event::InitDone) => {
                let gone = children.retain(kind, &std::mem::take(&mut listed));
                synced.send_replace(true);
                gone
            }
            Ok(Event::Apply(object)) => children.put(kind, &object.metadata).into_iter().collect(),
            Ok(Event::Delete(object)) => children.take(kind, &object.metadata).into_iter().collect(),
            Err(error) => {
                tracing::debug!(
                    kind = kind.as_str(),
                    error = error_chain(&error),
                    "watch failed; restarting"
                );
                Vec::new()
            }
        };
        for region in regions {
            // The receiver ends with the process.
            let _ = changed.send(region).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meta(value: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn object(name: &str, version: &str) -> ObjectMeta {
        meta(
            json!({"name": name, "namespace": "tunnels", "uid": "u", "resourceVersion": version, "generation": 1,
            "labels": {REGION_LABEL: "eu"}, "annotations": {"deployment.kubernetes.io/revision": version},
            "ownerReferences": [{"apiVersion": "adit.dev/v1alpha1", "kind": "Region", "name": "eu", "uid": "r", "controller": true}]}),
        )
    }

    #[test]
    fn objects_missing_from_a_new_list_are_forgotten() {
        let children = Children::default();
        let region = NamespacedName::new("tunnels", "eu");
        children.put(Kind::Secret, &object("eu-keys", "1"));
        children.put(Kind::Secret, &object("eu-peer", "1"));
        children.put(Kind::Service, &object("eu-relay", "1"));
        let seen = HashSet::from([(region.clone(), "eu-keys".to_owned())]);
        assert_eq!(children.retain(Kind::Secret, &seen), std::slice::from_ref(&region));
        let left: Vec<_> = children.of(&region).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(left, ["eu-keys", "eu-relay"]);
        children.take(Kind::Secret, &object("eu-keys", "2"));
        children.take(Kind::Service, &object("eu-relay", "2"));
        assert!(children.regions.read().unwrap().is_empty(), "a Region without objects is forgotten");
    }

    #[test]
    fn every_change_but_that_of_a_status_is_drift() {
        let applied = Meta::of(&object("eu-relay", "1"));
        let later = Meta::of(&object("eu-relay", "2"));
        assert!(later.is_as(&applied, Kind::Deployment), "its generation is the same");
        assert!(!later.is_as(&applied, Kind::Secret), "it has no generation");
        let mut other = object("eu-relay", "2");
        other.generation = Some(2);
        assert!(!Meta::of(&other).is_as(&applied, Kind::Deployment));
        let mut labelled = object("eu-relay", "2");
        labelled.labels.as_mut().unwrap().insert("a".into(), "b".into());
        assert!(!Meta::of(&labelled).is_as(&applied, Kind::Deployment));
        let mut orphaned = object("eu-relay", "2");
        orphaned.owner_references = None;
        assert!(!Meta::of(&orphaned).is_as(&applied, Kind::Deployment));
    }
}
