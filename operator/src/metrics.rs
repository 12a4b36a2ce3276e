//! What the operator counts.

pub mod certificates;

use certificates::Certificates;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{fmt, sync::Arc, time::Duration};

/// A custom resource's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Region.
    Region,
    /// Certificate.
    Certificate,
    /// Complaint.
    Complaint,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It came to its end.
    Done,
    /// It is repeated.
    Failed,
}

impl EncodeLabelValue for Resource {
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
struct OfKind {
    kind: Resource,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    kind: Resource,
    outcome: Outcome,
}

/// Counters of the whole process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<OfOutcome, Counter>,
    seconds: Family<OfKind, Histogram>,
    objects: Family<OfKind, Gauge>,
    leader: Gauge,
    store: Gauge,
    open_complaints: Gauge,
    enforcing_complaints: Gauge,
    oldest_complaint: Gauge,
    enforced_seconds: Histogram,
    certificates: Certificates,
}

fn histogram() -> Histogram {
    Histogram::new([0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("adit_operator");
        let (reconciles, objects) = (Family::default(), Family::default());
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (leader, store) = (Gauge::default(), Gauge::default());
        registry.register("reconciles", "Looks at an object, by how they ended", reconciles.clone());
        registry.register("reconcile_seconds", "How long a look took", seconds.clone());
        registry.register("objects", "Custom resources that there are", objects.clone());
        registry.register("leader", "Whether this replica leads", leader.clone());
        registry.register("store_up", "Whether the store answered last", store.clone());
        let (open_complaints, enforcing_complaints) = (Gauge::default(), Gauge::default());
        let (oldest_complaint, enforced_seconds) = (Gauge::default(), histogram());
        registry.register("complaints_open", "Complaints that wait for a decision", open_complaints.clone());
        registry.register(
            "complaints_enforcing",
            "Complaints that some relay has not confirmed",
            enforcing_complaints.clone(),
        );
        registry.register(
            "complaints_oldest_open_seconds",
            "The age of the oldest Complaint that waits for a decision; 0 if none does",
            oldest_complaint.clone(),
        );
        registry.register(
            "complaints_enforced_seconds",
            "How long it took from the acknowledgement to the last relay's confirmation",
            enforced_seconds.clone(),
        );
        let certificates = Certificates::new(&mut registry);
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

    /// A look has ended.
    pub fn reconciled(&self, kind: Resource, outcome: Outcome, took: Duration) {
        self.reconciles.get_or_create(&OfOutcome { kind, outcome }).inc();
        self.seconds.get_or_create(&OfKind { kind }).observe(took.as_secs_f64());
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Resource, objects: usize) {
        self.objects.get_or_create(&OfKind { kind }).set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// How many Complaints wait for a decision, how many for relays, and how old the oldest of the first is in seconds.
    pub fn complaints(&self, open: usize, enforcing: usize, oldest_seconds: i64) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.open_complaints.set(count(open));
        self.enforcing_complaints.set(count(enforcing));
        self.oldest_complaint.set(oldest_seconds);
    }

    /// The last relay has confirmed a Complaint.
    pub fn enforced(&self, took: Duration) {
        self.enforced_seconds.observe(took.as_secs_f64());
    }

    /// What is counted of Certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Whether the store answers.
    pub fn set_store(&self, is_up: bool) {
        self.store.set(i64::from(is_up));
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
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
    fn looks_are_counted_by_kind_and_outcome() {
        let metrics = Metrics::new();
        metrics.reconciled(Resource::Region, Outcome::Done, Duration::from_millis(30));
        metrics.reconciled(Resource::Region, Outcome::Failed, Duration::from_millis(30));
        metrics.count(Resource::Region, 3);
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
    fn certificates_are_counted_and_what_is_not_there_is_not_shown() {
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
        certificates.attempted(None);
        certificates.attempted(Some("RateLimited"));
        assert_eq!(shown("adit_operator_certificate_attempts_total"), Some(2));
        assert_eq!(shown("adit_operator_certificate_failures_total{reason=\"RateLimited\"}"), Some(1));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let standing = |not_after: Option<u64>, next_attempt: Option<u64>| certificates::Standing {
            not_after,
            next_attempt,
            is_rolled_out: not_after.is_some(),
        };
        certificates.note("late", standing(Some(now + 9_000), None), |_| true);
        certificates.note("early", standing(Some(now - 1_000), Some(now + 500)), |_| true);
        certificates.note("new", standing(None, Some(now + 700)), |_| true);
        assert!(shown(end).is_some_and(|seconds| (-1_100..=-1_000).contains(&seconds)));
        assert!(shown(next).is_some_and(|seconds| (400..=500).contains(&seconds)));
        assert_eq!(shown("adit_operator_certificates_not_rolled_out"), Some(1));
        certificates.forget("early");
        certificates.note("late", standing(Some(now + 9_000), None), |id| id != "new");
        assert!(shown(end).is_some_and(|seconds| (8_900..=9_000).contains(&seconds)));
        assert_eq!(shown(next), None);
        assert_eq!(shown("adit_operator_certificates_not_rolled_out"), Some(0));
    }
}
