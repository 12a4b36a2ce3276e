//! Leader election between replicas, by a Lease.
//!
//! A leader that cannot renew in time ends its process, so that nothing it began can run beside the next leader. Times are
//! measured by a monotonic clock, and each write names the resource version that it replaces.

use crate::error_chain::error_chain;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a Lease is valid after its last renewal.
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader tries to renew before it gives up. Less than [`LEASE_DURATION`].
pub(crate) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Interval between renewals, and between attempts of the other replicas.
pub(crate) const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// Maximum duration of one call to the API server.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Why this replica is the leader no longer.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The Lease could not be renewed in time.
    #[error("cannot renew the Lease for {} s", RENEW_DEADLINE.as_secs())]
    Expired,
    /// Another replica has acquired the Lease.
    #[error("{0} has acquired the Lease")]
    Lost(String),
}

/// How long a Lease has been unchanged, as one replica sees it.
#[derive(Clone, Debug, Default)]
struct LeaseObserver {
    /// The Lease's holder and version when it last changed, and when that was.
    last_change: Option<(String, Instant)>,
}

/// What to do with a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LeaseAction {
    /// Write it: it is free, expired, or held by this replica.
    Acquire,
    /// Wait: this other replica may be alive.
    Wait(String),
}

impl LeaseObserver {
    /// Decides what to do with a Lease that was just read. Another replica's Lease has expired once it has been unchanged
    /// for its duration by this replica's clock; the times in the Lease come from other clocks and are not used.
    fn observe(&mut self, lease: &Lease, identity: &str, now: Instant) -> LeaseAction {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder.is_empty() || holder == identity {
            return LeaseAction::Acquire;
        }
        let version = format!("{holder} {:?} {:?}", spec.renew_time, lease.metadata.resource_version);
        let since = match &self.last_change {
            Some((same, since)) if *same == version => *since,
            _ => {
                self.last_change = Some((version, now));
                now
            }
        };
        let duration = spec.lease_duration_seconds.map_or(LEASE_DURATION, |seconds| {
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LEASE_DURATION * 4)
        });
        if now.duration_since(since) >= duration { LeaseAction::Acquire } else { LeaseAction::Wait(holder) }
    }
}

/// A replica that can become the leader.
#[derive(Clone)]
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
}

/// The Lease while this replica holds it.
pub(crate) struct Leadership {
    candidate: Candidate,
    lease: Lease,
    renewed: Instant,
}

impl Candidate {
    /// A candidate for a Lease. The client must not retry by itself, because a late renewal is worse than none.
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity: identity.to_owned() }
    }

    /// Waits until this replica is the leader.
    pub(crate) async fn acquire(self) -> Leadership {
        let mut observer = LeaseObserver::default();
        let mut logged = String::new();
        loop {
            let begun = Instant::now();
            match timeout(CALL_TIMEOUT, self.try_acquire(&mut observer)).await {
                Ok(Ok(Ok(lease))) => return Leadership { candidate: self, lease, renewed: begun },
                Ok(Ok(Err(holder))) if holder != logged => {
                    tracing::info!(leader = holder, "waiting for the leader lease");
                    logged = holder;
                }
                Ok(Ok(Err(_))) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::debug!(error = error_chain(&error), "cannot acquire the leader lease; retrying");
                }
            }
            sleep(RETRY_PERIOD.mul_f64(rand::random_range(0.8..1.2))).await;
        }
    }

    async fn try_acquire(&self, observer: &mut LeaseObserver) -> kube::Result<Result<Lease, String>> {
        let Some(found) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = self.held(Lease { metadata, spec: None });
            return Ok(Ok(self.api.create(&PostParams::default(), &lease).await?));
        };
        match observer.observe(&found, &self.identity, Instant::now()) {
            LeaseAction::Wait(holder) => Ok(Err(holder)),
            LeaseAction::Acquire => {
                Ok(Ok(self.api.replace(&self.name, &PostParams::default(), &self.held(found)).await?))
            }
        }
    }

    /// The Lease with this replica as its holder. Its resource version stays, so that a concurrent write wins.
    fn held(&self, mut lease: Lease) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let old = lease.spec.unwrap_or_default();
        let same = old.holder_identity.as_deref() == Some(&self.identity);
        lease.spec = Some(LeaseSpec {
            acquire_time: if same { old.acquire_time } else { now.clone() },
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!same)),
            renew_time: now,
            ..LeaseSpec::default()
        });
        lease
    }
}

impl Leadership {
    /// Renews until `stop`, then releases the Lease.
    ///
    /// # Errors
    /// [`LeaderError`]: the process has to end at once.
    pub(crate) async fn hold(mut self, stop: &CancellationToken) -> Result<(), LeaderError> {
        loop {
            tokio::select! {
                () = sleep(RETRY_PERIOD) => {}
                () = stop.cancelled() => {
                    self.release().await;
                    return Ok(());
                }
            }
            let deadline = self.renewed + RENEW_DEADLINE;
            let begun = Instant::now();
            match timeout_at(deadline.min(begun + CALL_TIMEOUT), self.renew()).await {
                Ok(Ok(lease)) => {
                    self.lease = lease;
                    self.renewed = begun;
                }
                Ok(Err(Some(error))) => return Err(error),
                Ok(Err(None)) | Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(LeaderError::Expired);
            }
        }
    }

    /// Renews once. `Err(None)` is a failure that may pass.
    async fn renew(&self) -> Result<Lease, Option<LeaderError>> {
        let Candidate { api, name, identity } = &self.candidate;
        let lease = self.candidate.held(self.lease.clone());
        match api.replace(name, &PostParams::default(), &lease).await {
            Ok(lease) => Ok(lease),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // Another replica has acquired it, or the answer to the last write was lost.
                let found = api.get(name).await.map_err(|_| None)?;
                let holder =
                    found.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
                if holder != *identity {
                    return Err(Some(LeaderError::Lost(holder)));
                }
                let lease = self.candidate.held(found);
                api.replace(name, &PostParams::default(), &lease).await.map_err(|_| None)
            }
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "cannot renew the leader lease; retrying");
                Err(None)
            }
        }
    }

    /// Lets the next leader begin at once.
    async fn release(&self) {
        let mut lease = self.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        let Candidate { api, name, .. } = &self.candidate;
        let _ = timeout(CALL_TIMEOUT, api.replace(name, &PostParams::default(), &lease)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(holder: Option<&str>, renewed: &str, seconds: i32) -> Lease {
        serde_json::from_value(
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds}}),
        )
        .unwrap()
    }

    const ONE: &str = "2027-01-01T00:00:00.000000Z";
    const TWO: &str = "2027-01-01T00:00:02.000000Z";

    #[test]
    fn a_free_lease_and_the_own_one_are_acquired_at_once() {
        let mut observer = LeaseObserver::default();
        let now = Instant::now();
        assert_eq!(observer.observe(&lease(None, ONE, 15), "me", now), LeaseAction::Acquire);
        assert_eq!(observer.observe(&lease(Some(""), ONE, 15), "me", now), LeaseAction::Acquire);
        assert_eq!(observer.observe(&lease(Some("me"), ONE, 15), "me", now), LeaseAction::Acquire);
    }

    #[test]
    fn another_lease_is_acquired_once_it_was_unchanged_long_enough() {
        let mut observer = LeaseObserver::default();
        let now = Instant::now();
        let wait = LeaseAction::Wait("other".to_owned());
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        // By its own clock it expired long ago, which does not count.
        assert_eq!(observer.observe(&lease(Some("other"), ONE, 15), "me", at(0)), wait);
        assert_eq!(observer.observe(&lease(Some("other"), ONE, 15), "me", at(14)), wait);
        assert_eq!(observer.observe(&lease(Some("other"), TWO, 15), "me", at(15)), wait, "renewed");
        assert_eq!(observer.observe(&lease(Some("other"), TWO, 15), "me", at(29)), wait);
        assert_eq!(observer.observe(&lease(Some("other"), TWO, 15), "me", at(30)), LeaseAction::Acquire);
    }

    #[test]
    fn a_leader_gives_up_before_the_next_one_can_begin() {
        assert!(RENEW_DEADLINE + CALL_TIMEOUT < LEASE_DURATION);
        assert!(RETRY_PERIOD * 3 < RENEW_DEADLINE);
    }
}
