//! Answers of peers, kept for a moment.

use crate::cluster::table::Row;
use crate::lock::POISONED;
use adit_protocol::Endpoint;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Lifetime of a cached answer.
const KEPT: Duration = Duration::from_secs(5);
/// Maximum number of cached answers; consumers of made-up addresses cannot grow it further.
const MAX_ANSWERS: usize = 4096;

/// A cached answer and the time of its arrival.
type Kept = (Instant, Option<Arc<Row>>);

/// Cached answers of peers.
#[derive(Debug, Default)]
pub(super) struct AnswerCache(Mutex<HashMap<Endpoint, Kept>>);

impl AnswerCache {
    pub(super) fn get(&self, endpoint: &Endpoint) -> Option<Option<Arc<Row>>> {
        let asked = self.0.lock().expect(POISONED);
        asked.get(endpoint).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, row)| row.clone())
    }

    pub(super) fn keep(&self, endpoint: &Endpoint, row: Option<Arc<Row>>) {
        let mut asked = self.0.lock().expect(POISONED);
        if asked.len() >= MAX_ANSWERS {
            asked.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if asked.len() < MAX_ANSWERS {
            asked.insert(endpoint.clone(), (Instant::now(), row));
        }
    }
}
