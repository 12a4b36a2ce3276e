//! Numbers about requests and connections.

use crate::event::Exchange;
use std::collections::{HashSet, VecDeque};

/// How many of the newest durations the quantiles are made of.
const MAX_DURATIONS: usize = 1000;
/// How many open exchanges are told apart; more are not counted.
const MAX_OPEN: usize = 4096;

/// Counts of requests and connections since the client began.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Requests, or TCP connections, open ones included.
    pub(crate) total: u64,
    /// Requests that were answered with a status of 500 or more.
    pub(crate) failed: u64,
    /// Ids of exchanges that are open.
    open: HashSet<String>,
    /// How long the newest took in milliseconds; upgraded ones are left out, because they last as long as they like.
    durations: VecDeque<u64>,
}

impl Traffic {
    pub(super) fn count(&mut self, exchange: &Exchange) {
        let Some(duration) = exchange.duration_ms else {
            if self.open.len() < MAX_OPEN && self.open.insert(exchange.id.clone()) {
                self.total += 1;
            }
            return;
        };
        if !self.open.remove(&exchange.id) {
            self.total += 1;
        }
        if exchange.status.is_some_and(|status| status >= 500) {
            self.failed += 1;
        }
        if exchange.status.is_some_and(|status| status >= 200) {
            if self.durations.len() == MAX_DURATIONS {
                self.durations.pop_front();
            }
            self.durations.push_back(duration);
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// The median and the 99th percentile of the newest requests, in milliseconds.
    pub(crate) fn quantiles(&self) -> Option<(u64, u64)> {
        let mut sorted: Vec<u64> = self.durations.iter().copied().collect();
        sorted.sort_unstable();
        let at =
            |percent: usize| sorted.get(((sorted.len() * percent).div_ceil(100)).saturating_sub(1)).copied();
        Some((at(50)?, at(99)?))
    }
}
