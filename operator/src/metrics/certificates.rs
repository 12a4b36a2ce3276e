//! The metrics of Certificates.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

/// The reason of a failure, from the closed set that conditions use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The state of one Certificate. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateSample {
    /// When the served certificate expires; `None` before the first one.
    pub(crate) not_after: Option<u64>,
    /// When the next attempt is due after a failed one.
    pub(crate) next_attempt: Option<u64>,
    /// Whether all relays serve the desired certificate.
    pub(crate) is_rolled_out: bool,
}

/// Counters of attempts, and the last sample of each Certificate.
#[derive(Default)]
pub(crate) struct CertificateMetrics {
    attempts: Counter,
    failures: Family<ReasonLabel, Counter>,
    samples: Arc<Samples>,
}

/// The last sample of each Certificate, by uid. The gauges are computed when they are read, because they are relative to
/// that time; a gauge without a time is absent, because no number means "never".
#[derive(Debug, Default)]
struct Samples(Mutex<BTreeMap<String, CertificateSample>>);

impl Samples {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CertificateSample>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl CertificateMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "certificate_attempts",
            "Finished attempts to get a certificate from a CA",
            own.attempts.clone(),
        );
        registry.register(
            "certificate_failures",
            "Failed attempts to get a certificate from a CA, by reason",
            own.failures.clone(),
        );
        registry.register_collector(Box::new(Gauges(own.samples.clone())));
        own
    }

    /// Counts a finished attempt; `failure` is the reason if it failed.
    pub(crate) fn record_attempt(&self, failure: Option<&'static str>) {
        self.attempts.inc();
        if let Some(reason) = failure {
            self.failures.get_or_create(&ReasonLabel { reason }).inc();
        }
    }

    /// Records the state of a Certificate, and forgets those for which `exists` is false.
    pub(crate) fn record(&self, id: &str, sample: CertificateSample, exists: impl Fn(&str) -> bool) {
        let mut samples = self.samples.lock();
        samples.retain(|id, _| exists(id));
        samples.insert(id.to_owned(), sample);
    }

    /// Forgets a Certificate.
    pub(crate) fn forget(&self, id: &str) {
        self.samples.lock().remove(id);
    }
}

#[derive(Debug)]
struct Gauges(Arc<Samples>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let until =
            |time: u64| i64::try_from(time).unwrap_or(i64::MAX) - i64::try_from(now).unwrap_or(i64::MAX);
        let mut show = |name, help, value: Option<i64>| match value.map(ConstGauge::new) {
            Some(gauge) => gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?),
            None => Ok(()),
        };
        let samples = self.0.lock();
        show(
            "certificates_first_end_seconds",
            "Seconds until the first served certificate expires; negative afterwards; absent without one",
            samples.values().filter_map(|one| one.not_after).min().map(until),
        )?;
        show(
            "certificates_next_attempt_seconds",
            "Seconds until the next attempt after a failed one; absent if none is due",
            samples.values().filter_map(|one| one.next_attempt).min().map(until),
        )?;
        let not_rolled_out = samples.values().filter(|one| !one.is_rolled_out).count();
        show(
            "certificates_not_rolled_out",
            "Certificates that at least one relay of their regions does not serve",
            i64::try_from(not_rolled_out).ok(),
        )
    }
}
