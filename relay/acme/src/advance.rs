//! Advances a certificate by one step: observes it, decides, and acts under a fence in the store.

use crate::{
    certificate,
    client::Http,
    decide::{
        FAILED_VALIDATION_WINDOW_SECONDS, RENEWAL_INFO_INTERVAL_SECONDS, Situation, Step, count_failure,
        decide, renewal_time, retry_delay, validation_allowed_at,
    },
    error::{IssueError, cause},
    issuer::{FENCE_SECONDS, Issuer},
    order::Attempt,
    renewal,
    request::Request,
};
use adit_store::{Fence, StoreError, StoredCertificate, StoredOrder};
use adit_system::clock::now;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// The interval at which a held fence is renewed.
const FENCE_RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// The maximum time of one attempt. The next one continues its order.
const MAX_ATTEMPT_TIME: Duration = Duration::from_secs(170);
/// The minimum interval between two requests for renewal information, in seconds.
const MIN_RENEWAL_INFO_INTERVAL_SECONDS: u64 = 600;

/// The state of a certificate after [`Issuer::advance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// It is stored, and not due.
    UpToDate,
    /// It was just issued.
    Issued,
    /// It is due, and waits after a failure.
    Waiting {
        /// The end of the wait in seconds since 1970.
        until: u64,
        /// Whether it waits because validations failed.
        validations: bool,
    },
    /// An attempt has just failed.
    Failed {
        /// The reason, as in conditions and metrics.
        reason: &'static str,
    },
    /// Another process is issuing it.
    IssuedElsewhere,
}

/// The result of [`Issuer::advance`].
#[derive(Clone, Debug)]
pub struct IssueProgress {
    /// The state of the certificate.
    pub state: CertificateState,
    /// The certificate that relays serve.
    pub stored: Option<StoredCertificate>,
    /// The order, and the result of the last attempt.
    pub order: Option<StoredOrder>,
    /// The time of renewal in seconds since 1970.
    pub renewal_at: Option<u64>,
    /// The time until the next call of [`Issuer::advance`].
    pub next_check: Duration,
    /// The seconds by which the CA's clock is ahead of this one, if the CA was called.
    pub clock_ahead: Option<i64>,
}

impl Issuer {
    /// Decides the next step for a certificate and takes it. This may take up to three minutes.
    ///
    /// # Errors
    /// [`StoreError`]: the state is unknown then.
    pub async fn advance(&self, request: &Request) -> Result<IssueProgress, StoreError> {
        let (stored, order, step) = self.observe(request).await?;
        let is_due = matches!(step, Step::Issue { .. } | Step::FetchRenewalInfo)
            || stored.as_ref().is_some_and(|stored| stored.regions != request.regions)
            || (stored.is_some() && !self.is_distributed(&request.id, &request.regions).await?);
        if !is_due {
            return Ok(progress(request, step_state(step), (stored, order), step, None));
        }
        let name = format!("certificate/{}", request.id);
        let Some(fence) = self.store.take_fence(&name, &self.holder, FENCE_SECONDS, now()).await? else {
            let progress = progress(request, CertificateState::IssuedElsewhere, (stored, order), step, None);
            return Ok(IssueProgress { next_check: Duration::from_secs(5), ..progress });
        };
        let done = self.take_step(request, &fence).await;
        // A fence that is not released expires.
        let _ = self.store.leave_fence(&fence).await;
        let (state, ahead) = done?;
        let (stored, order, step) = self.observe(request).await?;
        Ok(progress(request, state.unwrap_or(step_state(step)), (stored, order), step, ahead))
    }

    async fn observe(
        &self,
        request: &Request,
    ) -> Result<(Option<StoredCertificate>, Option<StoredOrder>, Step), StoreError> {
        let stored = self.store.certificate(&request.id).await?;
        let order = self.store.acme_order(&request.id).await?;
        let now = now();
        let mut names_allowed_at = 0;
        for name in &request.names {
            let since = now.saturating_sub(FAILED_VALIDATION_WINDOW_SECONDS);
            let failed = self.store.failed_validations(&request.ca.directory, name, since).await?;
            names_allowed_at = names_allowed_at.max(validation_allowed_at(&failed));
        }
        let wanted =
            request.newer_than.zip(stored.as_ref()).is_some_and(|(than, stored)| stored.issued_at <= than);
        let forced = wanted || (stored.is_some() && self.is_key_lost(&request.id, &request.regions).await?);
        let situation = Situation {
            made_for: &request.made_for(),
            renew_before: request.renew_before,
            forced,
            stored: stored.as_ref(),
            order: order.as_ref(),
            names_allowed_at,
            now,
        };
        let step = decide(&situation);
        Ok((stored, order, step))
    }

    /// Takes the next step, decided anew under the fence: another process may have taken it meanwhile.
    async fn take_step(
        &self,
        request: &Request,
        fence: &Fence,
    ) -> Result<(Option<CertificateState>, Option<i64>), StoreError> {
        let (stored, order, step) = self.observe(request).await?;
        let http = match Http::new(request.ca.bundle.as_deref()) {
            Ok(http) => http,
            Err(error) => {
                let failure = IssueError::from(error);
                let reason = failure.reason();
                self.note_failure(request, order, fence, &failure, None).await?;
                return Ok((Some(CertificateState::Failed { reason }), None));
            }
        };
        let row = order.clone().filter(|order| order.made_for == request.made_for()).unwrap_or_else(|| {
            StoredOrder {
                certificate: request.id.clone(),
                made_for: request.made_for(),
                challenges: "[]".to_owned(),
                ..StoredOrder::default()
            }
        });
        let state = match step {
            Step::Issue { .. } => {
                let mut attempt =
                    Attempt { issuer: self, http: &http, request, fence, stored: stored.as_ref(), row };
                let run = async {
                    timeout(MAX_ATTEMPT_TIME, attempt.run())
                        .await
                        .unwrap_or(Err(IssueError::Timeout("the whole attempt")))
                };
                let issued = tokio::select! {
                    issued = run => issued,
                    lost = self.hold_fence(fence) => Err(lost),
                };
                match issued {
                    Ok(()) => Some(CertificateState::Issued),
                    Err(failure) => {
                        let reason = failure.reason();
                        let row = attempt.row;
                        self.note_failure(request, Some(row), fence, &failure, http.notes().retry_after)
                            .await?;
                        Some(CertificateState::Failed { reason })
                    }
                }
            }
            Step::FetchRenewalInfo => {
                if let Some(stored) = &stored {
                    self.fetch_renewal_info(request, stored, row, &http, fence).await?;
                }
                None
            }
            Step::Keep { .. } | Step::Wait { .. } => None,
        };
        if let Err(failure) = self.distribute(request, fence).await {
            tracing::warn!(
                certificate = request.id,
                error = failure.error_chain(),
                "distributing the key failed; retrying"
            );
        }
        Ok((state, http.notes().clock_ahead))
    }

    /// Renews the fence until it is lost.
    async fn hold_fence(&self, fence: &Fence) -> IssueError {
        let mut ticks = interval(FENCE_RENEW_INTERVAL);
        loop {
            ticks.tick().await;
            let held = self.store.take_fence(&fence.name, &self.holder, FENCE_SECONDS, now()).await;
            if matches!(&held, Ok(None)) || matches!(&held, Ok(Some(other)) if other != fence) {
                return IssueError::FenceLost;
            }
        }
    }

    async fn note_failure(
        &self,
        request: &Request,
        row: Option<StoredOrder>,
        fence: &Fence,
        failure: &IssueError,
        retry_after: Option<u64>,
    ) -> Result<(), StoreError> {
        if !failure.is_attempt() {
            return Ok(());
        }
        let mut row = row.unwrap_or_default();
        row.certificate.clone_from(&request.id);
        row.made_for = request.made_for();
        let before = cause(row.problem.as_deref().unwrap_or_default());
        row.failures = count_failure(row.failures, before, failure.cause());
        row.next_attempt = now() + retry_delay(row.failures, failure.cause(), retry_after);
        row.problem = Some(format!("{}: {}", failure.reason(), failure.error_chain()));
        if row.challenges.is_empty() {
            "[]".clone_into(&mut row.challenges);
        }
        tracing::warn!(
            certificate = request.id,
            failures = row.failures,
            next_attempt = certificate::rfc3339(row.next_attempt),
            error = failure.error_chain(),
            "issuing failed; retrying"
        );
        self.store.put_challenges(&request.id, &[], now()).await?;
        self.store.put_acme_order(&row, fence).await.map(drop)
    }

    async fn fetch_renewal_info(
        &self,
        request: &Request,
        stored: &StoredCertificate,
        mut row: StoredOrder,
        http: &Http,
        fence: &Fence,
    ) -> Result<(), StoreError> {
        let window = match renewal::window(self, http, request, stored).await {
            Ok(window) => window,
            Err(failure) => {
                tracing::debug!(
                    certificate = request.id,
                    error = failure.error_chain(),
                    "renewal information unavailable"
                );
                row.renewal_at.map(|at| (at, MIN_RENEWAL_INFO_INTERVAL_SECONDS))
            }
        };
        row.renewal_at = window.map(|(at, _)| at);
        let interval = window.map_or(RENEWAL_INFO_INTERVAL_SECONDS, |(_, interval)| {
            interval.clamp(MIN_RENEWAL_INFO_INTERVAL_SECONDS, RENEWAL_INFO_INTERVAL_SECONDS)
        });
        row.renewal_asked = now() + interval;
        self.store.put_acme_order(&row, fence).await.map(drop)
    }

    /// Revokes what was issued for a request.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn revoke(&self, request: &Request) -> Result<(), IssueError> {
        let Some(stored) = self.store.certificate(&request.id).await? else { return Ok(()) };
        let http = Http::new(request.ca.bundle.as_deref())?;
        timeout(MAX_ATTEMPT_TIME, renewal::revoke(self, &http, request, &stored))
            .await
            .unwrap_or(Err(IssueError::Timeout("the revocation")))
    }
}

fn step_state(step: Step) -> CertificateState {
    match step {
        Step::Wait { until, validations } => CertificateState::Waiting { until, validations },
        Step::Keep { .. } | Step::FetchRenewalInfo | Step::Issue { .. } => CertificateState::UpToDate,
    }
}

fn progress(
    request: &Request,
    state: CertificateState,
    (stored, order): (Option<StoredCertificate>, Option<StoredOrder>),
    step: Step,
    clock_ahead: Option<i64>,
) -> IssueProgress {
    let now = now();
    let until = match step {
        Step::Keep { until } | Step::Wait { until, .. } => until,
        Step::FetchRenewalInfo | Step::Issue { .. } => now,
    };
    let renewal_at = stored.as_ref().map(|stored| renewal_time(stored, order.as_ref(), request.renew_before));
    let next_check = Duration::from_secs(until.saturating_sub(now).clamp(1, 3600));
    IssueProgress { state, stored, order, renewal_at, next_check, clock_ahead }
}
