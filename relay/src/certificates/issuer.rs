//! A relay that gets its own certificate from a CA.

use crate::{
    config::Acme,
    ops::metrics::{MetricKind, Metrics},
};
use adit_acme::{CertificateState, IssueProgress, Issuer, KeyAlgorithm, Request};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Delay before the next attempt after the store has failed.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Counters of issuance attempts. The log has the reasons of failures.
#[derive(Clone, Default)]
struct IssuanceCounters {
    attempts: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
    next_attempt: Arc<AtomicU64>,
}

impl IssuanceCounters {
    fn shown_by(metrics: &Metrics) -> Self {
        let counts = Self::default();
        let show = |name, help, kind, number: &Arc<AtomicU64>| {
            let number = number.clone();
            metrics.watch(name, help, kind, move || number.load(Ordering::Relaxed));
        };
        show(
            "adit_certificate_attempts",
            "Attempts to get a certificate from a CA that have ended, well or not",
            MetricKind::Counter,
            &counts.attempts,
        );
        show("adit_certificate_failures", "Those of them that failed", MetricKind::Counter, &counts.failures);
        show(
            "adit_certificate_next_attempt_seconds",
            "When the next attempt after a failed one is made, in seconds since 1970; 0 while none is waited for",
            MetricKind::Gauge,
            &counts.next_attempt,
        );
        counts
    }

    fn note(&self, progress: &IssueProgress) {
        let failed = matches!(progress.state, CertificateState::Failed { .. });
        self.attempts
            .fetch_add(u64::from(failed || progress.state == CertificateState::Issued), Ordering::Relaxed);
        self.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
        let waits = failed || matches!(progress.state, CertificateState::Waiting { .. });
        let next = progress.order.as_ref().filter(|_| waits).map_or(0, |order| order.next_attempt);
        self.next_attempt.store(next, Ordering::Relaxed);
    }
}

/// A certificate that a relay gets for itself.
pub(crate) struct OwnCertificate {
    /// The region's domain.
    pub(crate) domain: String,
    /// The certificate, its CA and how the names are proved.
    pub(crate) acme: Acme,
    /// Gets it.
    pub(crate) issuer: Issuer,
}

/// Gets a certificate and renews it until `closing`.
pub(crate) async fn run(own: OwnCertificate, metrics: &Metrics, closing: CancellationToken) {
    let OwnCertificate { domain, acme, issuer } = own;
    let request = Request {
        id: format!("relay/{domain}"),
        names: acme.names.clone(),
        regions: vec![domain.clone()],
        ca: acme.ca.clone(),
        proof: acme.proof.clone(),
        algorithm: KeyAlgorithm::EcdsaP256,
        rotate: true,
        renew_before: acme.renew_before,
        newer_than: None,
    };
    let counts = IssuanceCounters::shown_by(metrics);
    while !closing.is_cancelled() {
        let again = match advance(&issuer, &request, &domain, &counts).await {
            Ok(again) => again,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "certificate issuance failed: store error; retrying"
                );
                STORE_RETRY_DELAY
            }
        };
        tokio::select! {
            () = sleep(again) => {}
            () = closing.cancelled() => return,
        }
    }
}

async fn advance(
    issuer: &Issuer,
    request: &Request,
    domain: &str,
    counts: &IssuanceCounters,
) -> Result<Duration, adit_store::StoreError> {
    issuer.store.put_region(domain, &issuer.operator_key.public_text()).await?;
    let progress = issuer.advance(request).await?;
    counts.note(&progress);
    if let Some(ahead) = progress.clock_ahead.filter(|ahead| ahead.abs() > 600) {
        tracing::warn!(seconds = ahead, "the CA's clock differs from this one; certificates have its times");
    }
    if progress.state == CertificateState::Issued {
        tracing::info!(names = request.names.join(","), "certificate issued");
    }
    Ok(progress.next_check)
}

/// Where this process itself reaches an address that it listens on.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    address
}
