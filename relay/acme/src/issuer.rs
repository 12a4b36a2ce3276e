//! Looks at a certificate and does what there is to do.

use crate::{
    certificate,
    client::Http,
    decide::{ASK_SECONDS, LEDGER_SECONDS, Situation, Step, count, decide, free_at, pause, renewal_time},
    dns::Resolvers,
    failure::{Failure, cause},
    order::{self, Attempt},
    request::Request,
    seal::{SealingKey, seal},
};
use adit_store::{Fence, SealedKey, Store, StoreError, StoredCertificate, StoredOrder};
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::{interval, timeout};

/// What the private keys of certificates are sealed for.
const KEY_PURPOSE: &str = "certificate";
/// The recipient of who issues; no region has this domain.
const KEEPER: &str = "issuer";
/// How long a fence lasts that is not held on to, in seconds: after so long another one takes a killed one's place.
const FENCE_SECONDS: u64 = 15;
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

/// Whose certificate it is and where it goes, whoever issued it.
#[derive(Clone, Debug)]
pub struct Spread<'a> {
    /// Under which it is kept.
    pub id: &'a str,
    /// The names that it is for.
    pub names: &'a [String],
    /// The domains of the regions; empty: all.
    pub regions: &'a [String],
    /// A digest of what was asked for.
    pub made_for: String,
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
            || (stored.is_some() && !self.is_spread(request).await?);
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
        let forced =
            request.newer_than.zip(stored.as_ref()).is_some_and(|(than, stored)| stored.issued_at <= than);
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
        let asked = match order::renewal(self, http, request, stored).await {
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

    /// Who should have a certificate's key: the regions that serve it, and who issues.
    async fn recipients(&self, regions: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let mut all = self.store.regions().await?;
        all.retain(|(region, _)| regions.is_empty() || regions.contains(region));
        all.push((KEEPER.to_owned(), self.keeper.public_text()));
        Ok(all)
    }

    async fn is_spread(&self, request: &Request) -> Result<bool, StoreError> {
        let mut wanted: Vec<_> = self.recipients(&request.regions).await?;
        let keys = self.store.certificate_keys(&request.id).await?;
        let mut has: Vec<_> = keys
            .iter()
            .map(|key| (key.recipient.clone(), key.sealed.split('/').next().unwrap_or_default().to_owned()))
            .collect();
        wanted.sort();
        has.sort();
        Ok(wanted == has)
    }

    /// Seals the key anew if regions have come, gone, or changed their keys.
    async fn spread(&self, request: &Request, fence: &Fence) -> Result<(), Failure> {
        let Some(mut stored) = self.store.certificate(&request.id).await? else { return Ok(()) };
        if stored.regions == request.regions && self.is_spread(request).await? {
            return Ok(());
        }
        let Some(pem) = self.open_key(&request.id).await? else { return Ok(()) };
        stored.regions.clone_from(&request.regions);
        let keys = self.seal_all(&request.id, &request.regions, &pem).await?;
        let order = self.store.acme_order(&request.id).await?;
        if !self.store.put_certificate(&stored, &keys, fence).await? {
            return Err(Failure::Lost);
        }
        // Where it goes has nothing to do with what the CA has said.
        if let Some(order) = order {
            self.store.put_acme_order(&order, fence).await?;
        }
        Ok(())
    }

    /// The private key of a certificate (PEM), if it was sealed to this issuer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open_key(&self, id: &str) -> Result<Option<String>, Failure> {
        let keys = self.store.certificate_keys(id).await?;
        let Some(own) = keys.iter().find(|key| key.recipient == KEEPER) else { return Ok(None) };
        let opened = open_key(&self.keeper, id, &own.sealed)?;
        Ok(Some(opened))
    }

    async fn seal_all(&self, id: &str, regions: &[String], pem: &str) -> Result<Vec<SealedKey>, Failure> {
        let purpose = format!("{KEY_PURPOSE} {id}");
        let mut keys = Vec::new();
        for (recipient, public) in self.recipients(regions).await? {
            match seal(&public, &purpose, pem.as_bytes()) {
                // The public key stands before it, so that anyone can see whether it is still the right one.
                Ok(sealed) => keys.push(SealedKey { recipient, sealed: format!("{public}/{sealed}") }),
                Err(error) => tracing::error!(region = recipient, %error, "a region's public key is none"),
            }
        }
        Ok(keys)
    }

    pub(crate) async fn put(
        &self,
        request: &Request,
        chain: String,
        key: &str,
        fence: &Fence,
    ) -> Result<(), Failure> {
        let spread = Spread {
            id: &request.id,
            names: &request.names,
            regions: &request.regions,
            made_for: request.made_for(),
        };
        self.put_checked(&spread, chain, key, fence).await
    }

    async fn put_checked(
        &self,
        spread: &Spread<'_>,
        chain: String,
        key: &str,
        fence: &Fence,
    ) -> Result<(), Failure> {
        let facts = certificate::check(&chain, key, spread.names, now())?;
        let keys = self.seal_all(spread.id, spread.regions, key).await?;
        let at = (spread.names, spread.regions);
        let row = certificate::row(spread.id, at, chain, &facts, spread.made_for.clone(), now());
        match self.store.put_certificate(&row, &keys, fence).await? {
            true => Ok(()),
            false => Err(Failure::Lost),
        }
    }

    /// Has relays serve a certificate that came from elsewhere, unless they do already.
    ///
    /// # Errors
    /// [`Failure`]: what is served stays.
    pub async fn publish(
        &self,
        spread: &Spread<'_>,
        chain: &str,
        key: &str,
    ) -> Result<StoredCertificate, Failure> {
        let facts = certificate::check(chain, key, spread.names, now())?;
        let name = format!("certificate/{}", spread.id);
        let stored = self.store.certificate(spread.id).await?;
        if let Some(stored) = stored.filter(|stored| {
            stored.fingerprint == facts.fingerprint
                && stored.chain == chain
                && stored.made_for == spread.made_for
                && stored.regions == spread.regions
                && stored.names == spread.names
        }) {
            let request_free = self.has_all(spread).await?;
            if request_free {
                return Ok(stored);
            }
        }
        let fence =
            self.store.take_fence(&name, &self.holder, FENCE_SECONDS, now()).await?.ok_or(Failure::Lost)?;
        let put = self.put_checked(spread, chain.to_owned(), key, &fence).await;
        let _ = self.store.leave_fence(&fence).await;
        put?;
        self.store.certificate(spread.id).await?.ok_or(Failure::Lost)
    }

    async fn has_all(&self, spread: &Spread<'_>) -> Result<bool, StoreError> {
        let wanted = self.recipients(spread.regions).await?;
        let keys = self.store.certificate_keys(spread.id).await?;
        let has = |(recipient, public): &(String, String)| {
            keys.iter()
                .any(|key| key.recipient == *recipient && key.sealed.starts_with(&format!("{public}/")))
        };
        Ok(wanted.len() == keys.len() && wanted.iter().all(has))
    }

    /// Revokes what was issued for a request.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke(&self, request: &Request) -> Result<(), Failure> {
        let Some(stored) = self.store.certificate(&request.id).await? else { return Ok(()) };
        let http = Http::new(request.ca.bundle.as_deref())?;
        timeout(ATTEMPT, order::revoke(self, &http, request, &stored))
            .await
            .unwrap_or(Err(Failure::Slow("the revocation")))
    }
}

/// Opens the private key of a certificate (PEM) that was sealed to one's own public key.
///
/// # Errors
/// [`Failure::Seal`].
pub fn open_key(own: &SealingKey, id: &str, sealed: &str) -> Result<String, Failure> {
    let text = sealed.split_once('/').map_or(sealed, |(_, text)| text);
    let opened = own.open(&format!("{KEY_PURPOSE} {id}"), text)?;
    String::from_utf8(opened).map_err(|_| crate::seal::SealError::Open.into())
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
