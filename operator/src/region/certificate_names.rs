//! The names of the Certificates whose uids are in the store. An object with one uid keeps its name for life.

use crate::api_server::{call, scoped_api};
use adit_api::Certificate;
use kube::{Client, api::ListParams};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

/// Maximum cached names; a full cache is emptied.
const MAX_NAMES: usize = 10_000;

/// A cache of Certificates' names by uid.
#[derive(Debug, Default)]
pub(crate) struct CertificateNames {
    namespace: Option<String>,
    names: Mutex<HashMap<String, Option<String>>>,
}

impl CertificateNames {
    /// An empty cache for one namespace, or for all.
    pub(crate) fn new(namespace: Option<String>) -> Self {
        Self { namespace, names: Mutex::default() }
    }

    /// The namespace and name of the Certificate with this uid; `None` if it is not in this cluster, or if the API server
    /// does not answer.
    pub(super) async fn get(&self, client: &Client, uid: &str) -> Option<String> {
        let cached = self.lock().get(uid).cloned();
        if let Some(cached) = cached {
            return cached;
        }
        let api = scoped_api::<Certificate>(client, self.namespace.as_deref());
        let found = call("list", "Certificates", api.list_metadata(&ListParams::default())).await.ok()?;
        let mut names = self.lock();
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        for meta in found.items.into_iter().map(|one| one.metadata) {
            if let (Some(uid), Some(namespace), Some(name)) = (meta.uid, meta.namespace, meta.name) {
                names.insert(uid, Some(format!("{namespace}/{name}")));
            }
        }
        // A Certificate exists before it is in the store: one that is not listed belongs to another cluster.
        names.entry(uid.to_owned()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        self.names.lock().expect("no code panics while it holds this lock")
    }
}
