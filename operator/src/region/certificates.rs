//! What Certificates are called whose ids are in the store: an object's uid has one name for all its life.

use crate::apply::CALL;
use adit_api::Certificate;
use kube::{Api, Client, api::ListParams};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};
use tokio::time::timeout;

/// The most names that are kept; then all are asked for anew.
const MOST: usize = 10_000;
const POISONED: &str = "no code panics while it holds this lock";

/// The names of Certificates by their uids.
#[derive(Debug, Default)]
pub struct CertificateNames {
    namespace: Option<String>,
    known: Mutex<HashMap<String, Option<String>>>,
}

impl CertificateNames {
    /// Of one namespace, or of all.
    pub fn new(namespace: Option<String>) -> Self {
        Self { namespace, known: Mutex::default() }
    }

    /// Namespace and name of the Certificate with this uid, if it is in this cluster and the API server says so.
    pub(super) async fn name(&self, client: &Client, id: &str) -> Option<String> {
        let cached = self.lock().get(id).cloned();
        if let Some(cached) = cached {
            return cached;
        }
        let api: Api<Certificate> = match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let found = timeout(CALL, api.list_metadata(&ListParams::default())).await.ok()?.ok()?;
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        for meta in found.items.into_iter().map(|one| one.metadata) {
            if let (Some(uid), Some(namespace), Some(name)) = (meta.uid, meta.namespace, meta.name) {
                known.insert(uid, Some(format!("{namespace}/{name}")));
            }
        }
        // A Certificate has its uid before it is in the store: who is not there now is another cluster's.
        known.entry(id.to_owned()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        self.known.lock().expect(POISONED)
    }
}
