//! Endpoints that were served here not long ago.

use adit_protocol::Endpoint;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an endpoint is remembered as offline rather than unknown: as long as its lease.
const REMEMBER_TIME: Duration = Duration::from_secs(adit_store::LEASE_SECONDS);
/// The most endpoints that are remembered.
const MAX_ENDPOINTS: usize = 100_000;

/// The endpoints, and when each was served last.
#[derive(Debug, Default)]
pub(crate) struct RecentEndpoints(Mutex<HashMap<Endpoint, Instant>>);

impl RecentEndpoints {
    /// Consumers of this endpoint are told that it is offline, for as long as its lease.
    pub(super) fn remember(&self, endpoint: &Endpoint) {
        let mut endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoints.len() >= MAX_ENDPOINTS {
            endpoints.retain(|_, since| since.elapsed() < REMEMBER_TIME);
        }
        if endpoints.len() < MAX_ENDPOINTS {
            endpoints.insert(endpoint.clone(), Instant::now());
        }
    }

    /// Whether an endpoint was served here not long ago.
    pub(crate) fn contains(&self, endpoint: &Endpoint) -> bool {
        let endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.get(endpoint).is_some_and(|since| since.elapsed() < REMEMBER_TIME)
    }
}
