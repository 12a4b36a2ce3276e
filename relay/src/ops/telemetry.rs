//! What a relay counts, logs and reports of itself.

use super::{
    access_log::{AccessLog, LaneLog, RequestIds},
    health::Health,
    metrics::{Gauge, LaneMetrics, Metrics},
};
use crate::lanes;
use std::sync::Arc;

/// Counters and access log of one lane, so that no lane waits for another.
#[derive(Debug)]
pub(crate) struct LaneTelemetry {
    /// Its counters.
    pub metrics: Arc<LaneMetrics>,
    /// Its access log.
    pub log: Arc<LaneLog>,
    /// Its request ids.
    pub ids: RequestIds,
}

/// Counters, access log and health of a relay.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// One for each lane; the last is for all other threads.
    lanes: Vec<LaneTelemetry>,
    /// All counters.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub access_log: AccessLog,
    /// What the ops port reports.
    pub health: Arc<Health>,
}

impl Telemetry {
    /// Telemetry for a relay with this many lanes.
    pub(crate) fn new(metrics: Metrics, access_log: AccessLog, lanes: usize) -> Self {
        let number = rand::random();
        let lane = |index| LaneTelemetry {
            metrics: metrics.lane(),
            log: access_log.lane(),
            ids: RequestIds::new(number, u16::try_from(index).unwrap_or(u16::MAX)),
        };
        let lanes = (0..=lanes).map(lane).collect();
        Self { lanes, metrics: Arc::new(metrics), access_log, health: Arc::default() }
    }

    /// What the calling lane counts and logs with.
    pub(crate) fn lane(&self) -> &LaneTelemetry {
        &self.lanes[lanes::current().unwrap_or(self.lanes.len() - 1)]
    }

    /// The counters of each lane in order; the last are those of all other threads.
    pub(crate) fn lane_metrics(&self) -> impl DoubleEndedIterator<Item = &Arc<LaneMetrics>> {
        self.lanes.iter().map(|lane| &lane.metrics)
    }

    /// How many requests and connections of consumers are open.
    pub(crate) fn open_streams(&self) -> i64 {
        self.lane_metrics().map(|metrics| metrics.value(Gauge::Streams)).sum()
    }
}
