//! The operator's metrics.

pub(crate) mod certificates;

use certificates::CertificateMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{fmt, sync::Arc, time::Duration};

/// A custom resource's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ResourceKind {
    /// Region.
    Region,
    /// Certificate.
    Certificate,
    /// Complaint.
    Complaint,
}

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// It succeeded.
    Done,
    /// It failed and is retried.
    Failed,
}

impl EncodeLabelValue for ResourceKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Region => "Region".encode(encoder),
            Self::Certificate => "Certificate".encode(encoder),
            Self::Complaint => "Complaint".encode(encoder),
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Done => "done".encode(encoder),
            Self::Failed => "failed".encode(encoder),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: ResourceKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: ResourceKind,
    outcome: Outcome,
}

/// All metrics of the process.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<OutcomeLabels, Counter>,
    seconds: Family<KindLabel, Histogram>,
    objects: Family<KindLabel, Gauge>,
    leader: Gauge,
    store: Gauge,
    open_complaints: Gauge,
    enforcing_complaints: Gauge,
    oldest_complaint: Gauge,
    enforced_seconds: Histogram,
    certificates: CertificateMetrics,
}

fn histogram() -> Histogram {
    Histogram::new([0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
}

impl Metrics {
    /// Metrics that are all zero.
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("adit_operator");
        let (reconciles, objects) = (Family::default(), Family::default());
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (leader, store) = (Gauge::default(), Gauge::default());
        registry.register("reconciles", "Reconciliations of objects, by outcome", reconciles.clone());
        registry.register("reconcile_seconds", "Duration of a reconciliation", seconds.clone());
        registry.register("objects", "Custom resources, by kind", objects.clone());
        registry.register("leader", "1 if this replica is the leader", leader.clone());
        registry.register("store_up", "1 if the last read of the store succeeded", store.clone());
        let (open_complaints, enforcing_complaints) = (Gauge::default(), Gauge::default());
        let (oldest_complaint, enforced_seconds) = (Gauge::default(), histogram());
        registry.register("complaints_open", "Complaints that wait for a decision", open_complaints.clone());
        registry.register(
            "complaints_enforcing",
            "Complaints that at least one relay has not confirmed",
            enforcing_complaints.clone(),
        );
        registry.register(
            "complaints_oldest_open_seconds",
            "Age of the oldest Complaint that waits for a decision; 0 if there is none",
            oldest_complaint.clone(),
        );
        registry.register(
            "complaints_enforced_seconds",
            "Time from a Complaint's acknowledgement to the last relay's confirmation",
            enforced_seconds.clone(),
        );
        let certificates = CertificateMetrics::new(&mut registry);
        Arc::new(Self {
            certificates,
            registry,
            reconciles,
            seconds: Family::clone(&seconds),
            objects,
            leader,
            store,
            open_complaints,
            enforcing_complaints,
            oldest_complaint,
            enforced_seconds,
        })
    }

    /// Counts a reconciliation.
    pub(crate) fn record_reconcile(&self, kind: ResourceKind, outcome: Outcome, took: Duration) {
        self.reconciles.get_or_create(&OutcomeLabels { kind, outcome }).inc();
        self.seconds.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
    }

    /// Sets how many objects of a kind exist.
    pub(crate) fn set_objects(&self, kind: ResourceKind, objects: usize) {
        self.objects.get_or_create(&KindLabel { kind }).set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// Sets how many Complaints wait for a decision, how many wait for relays, and the age in seconds of the oldest that
    /// waits for a decision.
    pub(crate) fn set_complaints(&self, open: usize, enforcing: usize, oldest_seconds: i64) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.open_complaints.set(count(open));
        self.enforcing_complaints.set(count(enforcing));
        self.oldest_complaint.set(oldest_seconds);
    }

    /// Records how long it took until the last relay had confirmed a Complaint.
    pub(crate) fn record_enforced(&self, took: Duration) {
        self.enforced_seconds.observe(took.as_secs_f64());
    }

    /// The metrics of Certificates.
    pub(crate) fn certificates(&self) -> &CertificateMetrics {
        &self.certificates
    }

    /// Sets whether this replica is the leader.
    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Sets whether the store answers.
    pub(crate) fn set_store_up(&self, is_up: bool) {
        self.store.set(i64::from(is_up));
    }

    /// All metrics in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes all that is written");
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn reconciliations_are_counted_by_kind_and_outcome() {
        let metrics = Metrics::new();
        metrics.record_reconcile(ResourceKind::Region, Outcome::Done, Duration::from_millis(30));
        metrics.record_reconcile(ResourceKind::Region, Outcome::Failed, Duration::from_millis(30));
        metrics.set_objects(ResourceKind::Region, 3);
        metrics.set_leader(true);
        let text = metrics.text();
        for line in [
            "adit_operator_reconciles_total{kind=\"Region\",outcome=\"done\"} 1",
            "adit_operator_reconcile_seconds_count{kind=\"Region\"} 2",
            "adit_operator_objects{kind=\"Region\"} 3",
            "adit_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn gauges_without_a_value_are_absent() {
        let metrics = Metrics::new();
        let certificates = metrics.certificates();
        let shown = |name: &str| {
            let text = metrics.text();
            let found = text.lines().find(|line| line.split(' ').next() == Some(name));
            found.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap())
        };
        let (end, next) = (
            "adit_operator_certificates_first_end_seconds",
            "adit_operator_certificates_next_attempt_seconds",
        );
        assert_eq!((shown(end), shown(next)), (None, None));
        certificates.record_attempt(None);
        certificates.record_attempt(Some("RateLimited"));
        assert_eq!(shown("adit_operator_certificate_attempts_total"), Some(2));
        assert_eq!(shown("adit_operator_certificate_failures_total{reason=\"RateLimited\"}"), Some(1));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let sample = |not_after: Option<u64>, next_attempt: Option<u64>| certificates::CertificateSample {
            not_after,
            next_attempt,
            is_rolled_out: not_after.is_some(),
        };
        certificates.record("late", sample(Some(now + 9_000), None), |_| true);
        certificates.record("early", sample(Some(now - 1_000), Some(now + 500)), |_| true);
        certificates.record("new", sample(None, Some(now + 700)), |_| true);
        assert!(shown(end).is_some_and(|seconds| (-1_100..=-1_000).contains(&seconds)));
        assert!(shown(next).is_some_and(|seconds| (400..=500).contains(&seconds)));
        assert_eq!(shown("adit_operator_certificates_not_rolled_out"), Some(1));
        certificates.forget("early");
        certificates.record("late", sample(Some(now + 9_000), None), |id| id != "new");
        assert!(shown(end).is_some_and(|seconds| (8_900..=9_000).contains(&seconds)));
        assert_eq!(shown(next), None);
        assert_eq!(shown("adit_operator_certificates_not_rolled_out"), Some(0));
    }
}
