//! Answers of peers, kept for a moment.

use crate::cluster::table::Row;
use adit_protocol::Endpoint;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How long an answer is good for.
const KEPT: Duration = Duration::from_secs(5);
/// How many answers are kept: whoever opens made-up addresses fills no more.
const MOST: usize = 4096;
const POISONED: &str = "no code panics while it holds this lock";

/// One answer, and when it came.
type Kept = (Instant, Option<Arc<Row>>);

/// What peers have answered.
#[derive(Debug, Default)]
pub(super) struct AnswerCache(Mutex<HashMap<Endpoint, Kept>>);

impl AnswerCache {
    pub(super) fn get(&self, endpoint: &Endpoint) -> Option<Option<Arc<Row>>> {
        let asked = self.0.lock().expect(POISONED);
        asked.get(endpoint).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, row)| row.clone())
    }

    pub(super) fn keep(&self, endpoint: &Endpoint, row: Option<Arc<Row>>) {
        let mut asked = self.0.lock().expect(POISONED);
        if asked.len() >= MOST {
            asked.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if asked.len() < MOST {
            asked.insert(endpoint.clone(), (Instant::now(), row));
        }
    }
}
