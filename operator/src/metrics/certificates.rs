//! What is counted of Certificates.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

const POISONED: &str = "no code panics while it holds this lock";

/// Of a closed set: the reasons of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

/// How one Certificate stands. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When what is served ends; nothing before there is something.
    pub not_after: Option<u64>,
    /// When the next attempt is made, after one that failed.
    pub next_attempt: Option<u64>,
    /// Whether relays serve what is asked for.
    pub is_rolled_out: bool,
}

/// Counters, and what is known of each Certificate.
#[derive(Default)]
pub struct Certificates {
    attempts: Counter,
    failures: Family<OfReason, Counter>,
    known: Arc<Known>,
}

/// How all Certificates stand. Its gauges are made when they are read, as they are times from then; without a time there is
/// none, as no number says "never".
#[derive(Debug, Default)]
struct Known(Mutex<BTreeMap<String, Standing>>);

impl Certificates {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "certificate_attempts",
            "Attempts to get a certificate from a CA that have ended, well or not",
            own.attempts.clone(),
        );
        registry.register(
            "certificate_failures",
            "Those of them that failed, by the reason as conditions have it",
            own.failures.clone(),
        );
        registry.register_collector(Box::new(Gauges(own.known.clone())));
        own
    }

    /// An attempt has ended; with the reason if it failed.
    pub fn attempted(&self, failure: Option<&'static str>) {
        self.attempts.inc();
        if let Some(reason) = failure {
            self.failures.get_or_create(&OfReason { reason }).inc();
        }
    }

    /// How a Certificate stands now. Those that are there no more are forgotten.
    pub fn note(&self, id: &str, standing: Standing, is_there: impl Fn(&str) -> bool) {
        let mut known = self.known.0.lock().expect(POISONED);
        known.retain(|id, _| is_there(id));
        known.insert(id.to_owned(), standing);
    }

    /// A Certificate is gone.
    pub fn forget(&self, id: &str) {
        self.known.0.lock().expect(POISONED).remove(id);
    }
}

#[derive(Debug)]
struct Gauges(Arc<Known>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let until =
            |time: u64| i64::try_from(time).unwrap_or(i64::MAX) - i64::try_from(now).unwrap_or(i64::MAX);
        let mut show = |name, help, value: Option<i64>| match value.map(ConstGauge::new) {
            Some(gauge) => gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?),
            None => Ok(()),
        };
        let known = self.0.0.lock().expect(POISONED);
        show(
            "certificates_first_end_seconds",
            "In how many seconds the first of the served certificates ends; negative once it has; absent without one",
            known.values().filter_map(|one| one.not_after).min().map(until),
        )?;
        show(
            "certificates_next_attempt_seconds",
            "In how many seconds the next attempt after a failed one is made; absent while none is waited for",
            known.values().filter_map(|one| one.next_attempt).min().map(until),
        )?;
        let not_out = known.values().filter(|one| !one.is_rolled_out).count();
        show(
            "certificates_not_rolled_out",
            "Certificates that not every relay of their regions serves",
            i64::try_from(not_out).ok(),
        )
    }
}
