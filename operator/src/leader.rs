//! Who of several replicas works: a Lease.
//!
//! A replica that cannot renew in time ends its process: nothing that it has begun can go on beside the next leader. Time
//! is measured by a clock that only goes forward, and every write names the version that it replaces.

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

/// How long a Lease lasts after its last renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// A leader that has not renewed for so long has lost: before another one may begin.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews, and how often the others look.
pub const RENEWAL: Duration = Duration::from_secs(2);
/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(3);

/// The Lease is someone else's.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// It could not be renewed in time.
    #[error("the Lease could not be renewed for {} s", DEADLINE.as_secs())]
    TooLate,
    /// Another replica has taken it.
    #[error("the Lease was taken by {0}")]
    Taken(String),
}

/// What one replica knows of the Lease.
#[derive(Clone, Debug, Default)]
struct Watched {
    /// What the Lease looked like, and since when.
    seen: Option<(String, Instant)>,
}

/// What follows from a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// It is ours, or free: write it.
    Take,
    /// It is another's, who may be alive.
    Wait(String),
}

impl Watched {
    /// What to do about a Lease that was just read. Another's time is over once it has looked the same for as long as it
    /// says, by this replica's own clock: clocks of others are not believed.
    fn decide(&mut self, lease: &Lease, identity: &str, now: Instant) -> Decision {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder.is_empty() || holder == identity {
            return Decision::Take;
        }
        let looks = format!("{holder} {:?} {:?}", spec.renew_time, lease.metadata.resource_version);
        let since = match &self.seen {
            Some((same, since)) if *same == looks => *since,
            _ => {
                self.seen = Some((looks, now));
                now
            }
        };
        let lasts = spec.lease_duration_seconds.map_or(DURATION, |seconds| {
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(DURATION * 4)
        });
        if now.duration_since(since) >= lasts { Decision::Take } else { Decision::Wait(holder) }
    }
}

/// A replica's part in the election.
#[derive(Clone)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
}

/// A Lease that this replica holds.
pub struct Leadership {
    candidate: Candidate,
    lease: Lease,
    renewed: Instant,
}

impl Candidate {
    /// A candidate for a Lease. The client must not retry by itself: a renewal that comes late is worse than none.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity: identity.to_owned() }
    }

    /// Waits until this replica leads.
    pub async fn lead(self) -> Leadership {
        let mut watched = Watched::default();
        let mut told = String::new();
        loop {
            let begun = Instant::now();
            match timeout(CALL, self.try_lead(&mut watched)).await {
                Ok(Ok(Ok(lease))) => return Leadership { candidate: self, lease, renewed: begun },
                Ok(Ok(Err(holder))) if holder != told => {
                    tracing::info!(leader = holder, "waiting");
                    told = holder;
                }
                Ok(Ok(Err(_))) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the Lease cannot be had");
                }
            }
            sleep(RENEWAL.mul_f64(rand::random_range(0.8..1.2))).await;
        }
    }

    async fn try_lead(&self, watched: &mut Watched) -> kube::Result<Result<Lease, String>> {
        let Some(found) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = self.ours(Lease { metadata, spec: None });
            return Ok(Ok(self.api.create(&PostParams::default(), &lease).await?));
        };
        match watched.decide(&found, &self.identity, Instant::now()) {
            Decision::Wait(holder) => Ok(Err(holder)),
            Decision::Take => {
                Ok(Ok(self.api.replace(&self.name, &PostParams::default(), &self.ours(found)).await?))
            }
        }
    }

    /// The Lease with this replica as its holder; its version stays, so that whoever writes in between wins.
    fn ours(&self, mut lease: Lease) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let old = lease.spec.unwrap_or_default();
        let same = old.holder_identity.as_deref() == Some(&self.identity);
        lease.spec = Some(LeaseSpec {
            acquire_time: if same { old.acquire_time } else { now.clone() },
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!same)),
            renew_time: now,
            ..LeaseSpec::default()
        });
        lease
    }
}

impl Leadership {
    /// Renews until `stop`, then gives the Lease back.
    ///
    /// # Errors
    /// [`LeaderError`]: the process has to end at once.
    pub async fn hold(mut self, stop: &CancellationToken) -> Result<(), LeaderError> {
        loop {
            tokio::select! {
                () = sleep(RENEWAL) => {}
                () = stop.cancelled() => {
                    self.give_back().await;
                    return Ok(());
                }
            }
            let deadline = self.renewed + DEADLINE;
            let begun = Instant::now();
            match timeout_at(deadline.min(begun + CALL), self.renew()).await {
                Ok(Ok(lease)) => {
                    self.lease = lease;
                    self.renewed = begun;
                }
                Ok(Err(Some(error))) => return Err(error),
                Ok(Err(None)) | Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(LeaderError::TooLate);
            }
        }
    }

    /// One try. No error is one that may pass.
    async fn renew(&self) -> Result<Lease, Option<LeaderError>> {
        let Candidate { api, name, identity } = &self.candidate;
        let lease = self.candidate.ours(self.lease.clone());
        match api.replace(name, &PostParams::default(), &lease).await {
            Ok(lease) => Ok(lease),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // Either another one has taken it, or the answer to our last write was lost.
                let found = api.get(name).await.map_err(|_| None)?;
                let holder =
                    found.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
                if holder != *identity {
                    return Err(Some(LeaderError::Taken(holder)));
                }
                let lease = self.candidate.ours(found);
                api.replace(name, &PostParams::default(), &lease).await.map_err(|_| None)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the Lease was not renewed");
                Err(None)
            }
        }
    }

    /// Lets the next one begin at once.
    async fn give_back(&self) {
        let mut lease = self.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        let Candidate { api, name, .. } = &self.candidate;
        let _ = timeout(CALL, api.replace(name, &PostParams::default(), &lease)).await;
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
    fn a_free_lease_and_our_own_are_taken_at_once() {
        let mut watched = Watched::default();
        let now = Instant::now();
        assert_eq!(watched.decide(&lease(None, ONE, 15), "me", now), Decision::Take);
        assert_eq!(watched.decide(&lease(Some(""), ONE, 15), "me", now), Decision::Take);
        assert_eq!(watched.decide(&lease(Some("me"), ONE, 15), "me", now), Decision::Take);
    }

    #[test]
    fn another_s_lease_is_taken_only_when_it_has_stood_still_for_its_time() {
        let mut watched = Watched::default();
        let now = Instant::now();
        let wait = Decision::Wait("other".to_owned());
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        // Its own clock says that it ended long ago, which nobody believes.
        assert_eq!(watched.decide(&lease(Some("other"), ONE, 15), "me", at(0)), wait);
        assert_eq!(watched.decide(&lease(Some("other"), ONE, 15), "me", at(14)), wait);
        assert_eq!(watched.decide(&lease(Some("other"), TWO, 15), "me", at(15)), wait, "renewed");
        assert_eq!(watched.decide(&lease(Some("other"), TWO, 15), "me", at(29)), wait);
        assert_eq!(watched.decide(&lease(Some("other"), TWO, 15), "me", at(30)), Decision::Take);
    }

    #[test]
    fn a_leader_gives_up_before_another_one_may_begin() {
        assert!(DEADLINE + CALL < DURATION);
        assert!(RENEWAL * 3 < DEADLINE);
    }
}
