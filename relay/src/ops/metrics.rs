//! Counters and timers in the OpenMetrics text format, which Prometheus reads.
//!
//! Each lane counts in atomics of its own ([`LaneMetrics`]), so that counting costs one uncontended addition; a scrape
//! sums them up. Labels come from closed sets alone: never a host, an account or a client's words.

mod encode;
mod lane;
mod process;

pub use lane::{Count, Gauge, GaugeGuard, LaneMetrics, Route};

use prometheus_client::registry::Registry;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one relay.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sources: Arc<Sources>,
}

/// The sources of a scrape.
#[derive(Default)]
struct Sources {
    lanes: Mutex<Vec<Arc<LaneMetrics>>>,
    watched: Mutex<Vec<ObservedValue>>,
}

/// A metric whose value another part of the relay keeps.
struct ObservedValue {
    name: &'static str,
    help: &'static str,
    kind: MetricKind,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Whether a watched number only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows; its name gets `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Metrics {
    /// Metrics without lanes. `relay` and `version` are shown as `adit_build_info`.
    pub fn new(version: &'static str) -> Self {
        let sources = Arc::new(Sources::default());
        let mut registry = Registry::default();
        registry
            .register_collector(Box::new(encode::RelayCollector { sources: Arc::clone(&sources), version }));
        Self { registry, sources }
    }

    /// The counters of one more lane. They count on when the lane has ended.
    pub fn lane(&self) -> Arc<LaneMetrics> {
        let lane = Arc::new(LaneMetrics::default());
        self.sources.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&lane));
        lane
    }

    /// Shows a number that someone else keeps, under a name that begins with `adit_`. `read` is called at each scrape.
    pub fn watch(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricKind,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let watched = ObservedValue { name, help, kind, read: Box::new(read) };
        self.sources.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }

    /// Everything as text.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a String");
        text
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
