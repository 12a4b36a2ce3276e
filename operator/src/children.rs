//! What the operator's objects are like now: their metadata, from one watch a kind, without their content.

use crate::objects::{Kind, MANAGED_BY, REGION_LABEL};
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

const POISONED: &str = "no code panics while it holds this lock";

/// What is kept of an object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Its generation, for kinds that have one.
    pub generation: Option<i64>,
    /// The uid of the Region that controls it.
    pub owner: Option<String>,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// A digest of its labels and annotations.
    pub marks: u64,
}

impl Meta {
    /// What is kept of this.
    pub fn of(meta: &ObjectMeta) -> Self {
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

    /// Whether what the operator applied has been changed by somebody since then.
    pub fn is_as(&self, applied: &Self, kind: Kind) -> bool {
        let same = if kind.has_generation() {
            self.generation == applied.generation && self.marks == applied.marks
        } else {
            self.resource_version == applied.resource_version
        };
        same && self.uid == applied.uid && self.owner == applied.owner && !self.is_deleting
    }
}

/// Namespace and name of a Region.
pub type Place = (String, String);

type ByName = BTreeMap<(Kind, String), Meta>;

/// The metadata of all objects that the operator has made, by Region.
#[derive(Debug, Default)]
pub struct Children {
    places: RwLock<HashMap<Place, ByName>>,
}

impl Children {
    /// One object's.
    pub fn get(&self, place: &Place, kind: Kind, name: &str) -> Option<Meta> {
        let places = self.places.read().expect(POISONED);
        places.get(place)?.get(&(kind, name.to_owned())).cloned()
    }

    /// Those of one Region.
    pub fn of(&self, place: &Place) -> Vec<(Kind, String, Meta)> {
        let places = self.places.read().expect(POISONED);
        let all = places.get(place).into_iter().flatten();
        all.map(|((kind, name), meta)| (*kind, name.clone(), meta.clone())).collect()
    }

    fn put(&self, kind: Kind, object: &ObjectMeta) -> Option<Place> {
        let (place, name) = place_of(object)?;
        let mut places = self.places.write().expect(POISONED);
        places.entry(place.clone()).or_default().insert((kind, name), Meta::of(object));
        Some(place)
    }

    fn take(&self, kind: Kind, object: &ObjectMeta) -> Option<Place> {
        let (place, name) = place_of(object)?;
        let mut places = self.places.write().expect(POISONED);
        if let Some(names) = places.get_mut(&place) {
            names.remove(&(kind, name));
            if names.is_empty() {
                places.remove(&place);
            }
        }
        Some(place)
    }

    /// After a new list: what is not in it is gone.
    fn retain(&self, kind: Kind, seen: &HashSet<(Place, String)>) -> Vec<Place> {
        let mut places = self.places.write().expect(POISONED);
        let mut changed = Vec::new();
        for (place, names) in places.iter_mut() {
            let before = names.len();
            names.retain(|(of, name), _| *of != kind || seen.contains(&(place.clone(), name.clone())));
            if names.len() != before {
                changed.push(place.clone());
            }
        }
        places.retain(|_, names| !names.is_empty());
        changed
    }
}

fn place_of(object: &ObjectMeta) -> Option<(Place, String)> {
    let region = object.labels.as_ref()?.get(REGION_LABEL)?.clone();
    Some(((object.namespace.clone()?, region), object.name.clone()?))
}

/// Which kinds have been listed once.
#[derive(Clone, Debug)]
pub struct Synced(Vec<watch::Receiver<bool>>);

impl Synced {
    /// Waits until all have.
    pub async fn all(&mut self) {
        for one in &mut self.0 {
            // The sender ends with its watch, and that with the process.
            let _ = one.wait_for(|synced| *synced).await;
        }
    }
}

/// Watches every kind until `stop`, and names each Region of which an object has changed.
pub fn watch(
    client: &Client,
    namespace: Option<&str>,
    children: &Arc<Children>,
    changed: &mpsc::Sender<Place>,
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
    changed: mpsc::Sender<Place>,
    synced: watch::Sender<bool>,
) {
    let selector = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
    let config = watcher::Config::default().labels(&selector);
    let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        let places = match event {
            Ok(Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(Event::InitApply(object)) => {
                listed.extend(place_of(&object.metadata));
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
                    error = &error as &dyn std::error::Error,
                    "the watch begins anew"
                );
                Vec::new()
            }
        };
        for place in places {
            // The receiver ends with the process.
            let _ = changed.send(place).await;
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
    fn what_a_new_list_does_not_have_is_gone() {
        let children = Children::default();
        let place = ("tunnels".to_owned(), "eu".to_owned());
        children.put(Kind::Secret, &object("eu-keys", "1"));
        children.put(Kind::Secret, &object("eu-peer", "1"));
        children.put(Kind::Service, &object("eu-relay", "1"));
        let seen = HashSet::from([(place.clone(), "eu-keys".to_owned())]);
        assert_eq!(children.retain(Kind::Secret, &seen), std::slice::from_ref(&place));
        let left: Vec<_> = children.of(&place).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(left, ["eu-keys", "eu-relay"]);
        children.take(Kind::Secret, &object("eu-keys", "2"));
        children.take(Kind::Service, &object("eu-relay", "2"));
        assert!(children.places.read().unwrap().is_empty(), "nothing is kept of what is gone");
    }

    #[test]
    fn a_change_of_a_status_is_no_drift_and_every_other_change_is() {
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
