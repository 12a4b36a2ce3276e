//! Looks at a certificate and does what there is to do.

use crate::{
    after, certificate,
    client::Http,
    decide::{ASK_SECONDS, LEDGER_SECONDS, Situation, Step, count, decide, free_at, pause, renewal_time},
    dns::Resolvers,
    failure::{Failure, cause},
    order::Attempt,
    request::Request,
    seal::SealingKey,
};
use adit_store::{Fence, Store, StoreError, StoredCertificate, StoredOrder};
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::{interval, timeout};

/// How long a fence lasts that is not held on to, in seconds: after so long another one takes a killed one's place.
pub(crate) const FENCE_SECONDS: u64 = 15;
/// How often it is held on to.
const HOLD: Duration = Duration::from_secs(4);
/// The longest that one attempt takes. The next one goes on with its order.
const ATTEMPT: Duration = Duration::from_secs(170);
/// The least pause between two questions when to renew, in seconds.
const LEAST_ASK: u64 = 600;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Issues certificates into a store.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Where they go.
    pub store: Store,
    /// Opens accounts, and the keys of orders under way.
    pub keeper: SealingKey,
    /// Which process this is, among all that issue into this store.
    pub holder: String,
    /// Who knows names.
    pub resolvers: Resolvers,
    /// Where challenges are answered in clear by this very process, to be looked at before the CA is asked; absent:
    /// where the names lead to.
    pub own_http: Option<SocketAddr>,
    /// The same by TLS.
    pub own_tls: Option<SocketAddr>,
}

/// How a certificate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there, and not due.
    Kept,
    /// It was just issued.
    Issued,
    /// It is due, and waits after a failure until then (seconds since 1970).
    Waiting {
        /// Until when.
        until: u64,
        /// Whether for validations that failed.
        validations: bool,
    },
    /// An attempt has just failed.
    Failed {
        /// A word for why.
        reason: &'static str,
    },
    /// Somebody else issues it.
    Elsewhere,
}

/// What came of a look.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How it stands.
    pub state: State,
    /// The certificate that relays serve.
    pub stored: Option<StoredCertificate>,
    /// The order, and what came of those before.
    pub order: Option<StoredOrder>,
    /// When it will be renewed, in seconds since 1970.
    pub renewal_at: Option<u64>,
    /// After how long to look again.
    pub again: Duration,
    /// By how many seconds the CA's clock is ahead of this one, where it was asked.
    pub clock_ahead: Option<i64>,
}

impl Issuer {
    /// Looks at a certificate, and does the next thing that there is to do. This may take up to three minutes.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was found out then.
    pub async fn advance(&self, request: &Request) -> Result<Progress, StoreError> {
        let (stored, order, step) = self.look(request).await?;
        let work = matches!(step, Step::Issue { .. } | Step::AskWhen)
            || stored.as_ref().is_some_and(|stored| stored.regions != request.regions)
            || (stored.is_some() && !self.is_spread(&request.id, &request.regions).await?);
        if !work {
            return Ok(progress(request, step_state(step), (stored, order), step, None));
        }
        let name = format!("certificate/{}", request.id);
        let Some(fence) = self.store.take_fence(&name, &self.holder, FENCE_SECONDS, now()).await? else {
            let progress = progress(request, State::Elsewhere, (stored, order), step, None);
            return Ok(Progress { again: Duration::from_secs(5), ..progress });
        };
        let done = self.work(request, &fence).await;
        // A fence that is not given back ends by itself.
        let _ = self.store.leave_fence(&fence).await;
        let (state, ahead) = done?;
        let (stored, order, step) = self.look(request).await?;
        Ok(progress(request, state.unwrap_or(step_state(step)), (stored, order), step, ahead))
    }

    async fn look(
        &self,
        request: &Request,
    ) -> Result<(Option<StoredCertificate>, Option<StoredOrder>, Step), StoreError> {
        let stored = self.store.certificate(&request.id).await?;
        let order = self.store.acme_order(&request.id).await?;
        let now = now();
        let mut names_free_at = 0;
        for name in &request.names {
            let since = now.saturating_sub(LEDGER_SECONDS);
            let failed = self.store.failed_validations(&request.ca.directory, name, since).await?;
            names_free_at = names_free_at.max(free_at(&failed));
        }
        let wanted =
            request.newer_than.zip(stored.as_ref()).is_some_and(|(than, stored)| stored.issued_at <= than);
        let forced =
            wanted || (stored.is_some() && self.is_out_of_reach(&request.id, &request.regions).await?);
        let situation = Situation {
            made_for: &request.made_for(),
            renew_before: request.renew_before,
            forced,
            stored: stored.as_ref(),
            order: order.as_ref(),
            names_free_at,
            now,
        };
        let step = decide(&situation);
        Ok((stored, order, step))
    }

    /// Does what there is to do, after another look: somebody else may have done it.
    async fn work(
        &self,
        request: &Request,
        fence: &Fence,
    ) -> Result<(Option<State>, Option<i64>), StoreError> {
        let (stored, order, step) = self.look(request).await?;
        let http = match Http::new(request.ca.bundle.as_deref()) {
            Ok(http) => http,
            Err(error) => {
                let failure = Failure::from(error);
                let reason = failure.reason();
                self.note_failure(request, order, fence, &failure, None).await?;
                return Ok((Some(State::Failed { reason }), None));
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
                    timeout(ATTEMPT, attempt.run()).await.unwrap_or(Err(Failure::Slow("the whole attempt")))
                };
                let issued = tokio::select! {
                    issued = run => issued,
                    lost = self.hold(fence) => Err(lost),
                };
                match issued {
                    Ok(()) => Some(State::Issued),
                    Err(failure) => {
                        let reason = failure.reason();
                        let row = attempt.row;
                        self.note_failure(request, Some(row), fence, &failure, http.notes().retry_after)
                            .await?;
                        Some(State::Failed { reason })
                    }
                }
            }
            Step::AskWhen => {
                if let Some(stored) = &stored {
                    self.ask_when(request, stored, row, &http, fence).await?;
                }
                None
            }
            Step::Keep { .. } | Step::Wait { .. } => None,
        };
        if let Err(failure) = self.spread(request, fence).await {
            tracing::warn!(
                certificate = request.id,
                failure = failure.words(),
                "not all regions have the key"
            );
        }
        Ok((state, http.notes().clock_ahead))
    }

    /// Holds on to the fence until it is lost.
    async fn hold(&self, fence: &Fence) -> Failure {
        let mut ticks = interval(HOLD);
        loop {
            ticks.tick().await;
            let held = self.store.take_fence(&fence.name, &self.holder, FENCE_SECONDS, now()).await;
            if matches!(&held, Ok(None)) || matches!(&held, Ok(Some(other)) if other != fence) {
                return Failure::Lost;
            }
        }
    }

    async fn note_failure(
        &self,
        request: &Request,
        row: Option<StoredOrder>,
        fence: &Fence,
        failure: &Failure,
        retry_after: Option<u64>,
    ) -> Result<(), StoreError> {
        if !failure.is_attempt() {
            return Ok(());
        }
        let mut row = row.unwrap_or_default();
        row.certificate.clone_from(&request.id);
        row.made_for = request.made_for();
        let before = cause(row.problem.as_deref().unwrap_or_default());
        row.failures = count(row.failures, before, failure.cause());
        row.next_attempt = now() + pause(row.failures, failure.cause(), retry_after);
        row.problem = Some(format!("{}: {}", failure.reason(), failure.words()));
        if row.challenges.is_empty() {
            "[]".clone_into(&mut row.challenges);
        }
        tracing::warn!(
            certificate = request.id,
            failures = row.failures,
            next_attempt = certificate::rfc3339(row.next_attempt),
            failure = failure.words(),
            "no certificate"
        );
        self.store.put_challenges(&request.id, &[], now()).await?;
        self.store.put_acme_order(&row, fence).await.map(drop)
    }

    async fn ask_when(
        &self,
        request: &Request,
        stored: &StoredCertificate,
        mut row: StoredOrder,
        http: &Http,
        fence: &Fence,
    ) -> Result<(), StoreError> {
        let asked = match after::renewal(self, http, request, stored).await {
            Ok(asked) => asked,
            Err(failure) => {
                tracing::debug!(
                    certificate = request.id,
                    failure = failure.words(),
                    "the CA did not say when to renew"
                );
                row.renewal_at.map(|at| (at, LEAST_ASK))
            }
        };
        row.renewal_at = asked.map(|(at, _)| at);
        let pause = asked.map_or(ASK_SECONDS, |(_, again)| again.clamp(LEAST_ASK, ASK_SECONDS));
        row.renewal_asked = now() + pause;
        self.store.put_acme_order(&row, fence).await.map(drop)
    }

    /// Revokes what was issued for a request.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke(&self, request: &Request) -> Result<(), Failure> {
        let Some(stored) = self.store.certificate(&request.id).await? else { return Ok(()) };
        let http = Http::new(request.ca.bundle.as_deref())?;
        timeout(ATTEMPT, after::revoke(self, &http, request, &stored))
            .await
            .unwrap_or(Err(Failure::Slow("the revocation")))
    }
}

fn step_state(step: Step) -> State {
    match step {
        Step::Wait { until, validations } => State::Waiting { until, validations },
        Step::Keep { .. } | Step::AskWhen | Step::Issue { .. } => State::Kept,
    }
}

fn progress(
    request: &Request,
    state: State,
    (stored, order): (Option<StoredCertificate>, Option<StoredOrder>),
    step: Step,
    clock_ahead: Option<i64>,
) -> Progress {
    let now = now();
    let until = match step {
        Step::Keep { until } | Step::Wait { until, .. } => until,
        Step::AskWhen | Step::Issue { .. } => now,
    };
    let renewal_at = stored.as_ref().map(|stored| renewal_time(stored, order.as_ref(), request.renew_before));
    let again = Duration::from_secs(until.saturating_sub(now).clamp(1, 3600));
    Progress { state, stored, order, renewal_at, again, clock_ahead }
}
