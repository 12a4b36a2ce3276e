//! The registry in Redis, for a region of several relays.
//!
//! Three keys, `{region}:rows`, `{region}:changes` and `{region}:relays`; the braces are part of them, so that a cluster
//! keeps them together. Scripts change them, each change gets the next version, and a stream carries the changes to all
//! relays, whose followers (`follow`) keep their tables up to date. Two connections a relay: one for scripts, one on
//! which the follower waits. There is no reconnect behind the caller's back: without a link, calls fail at once.
//!
//! A user for the relays of a region needs the keys `{region}:*` and the commands evalsha, script, time, hget, hset,
//! hdel, hexists, hlen, hincrby, hgetall, hscan, del, pexpire, xadd and xread.

mod follow;
mod scripts;
mod wire;

use super::{Claim, ClaimError, RegistryError, claims::PendingClaim};
use crate::cluster::table::{Change, ChangeKind, MAX_RELAYS, RelayRecord, Release, Table};
use adit_protocol::{Endpoint, RelayId};
use redis::{Client, aio::MultiplexedConnection};
use scripts::Scripts;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};

/// Maximum time of one call, connecting included.
const MAX_CALL_TIME: Duration = Duration::from_secs(1);

/// The part of a call's time that is waited for at once: see [`bounded`].
const CALL_SLICE: Duration = Duration::from_millis(250);

/// Maximum number of claims or releases in one call, so that no script keeps Redis busy for long.
const MAX_BATCH_ITEMS: usize = 256;

/// Maximum number of concurrent calls of sessions; a heartbeat waits for no more than these.
const MAX_CONCURRENT_CALLS: usize = 64;

/// One relay's way to the registry in Redis.
#[derive(Clone, Debug)]
pub(crate) struct Redis {
    shared: Arc<Shared>,
    _follower: Arc<Follower>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    scripts: Scripts,
    table: Arc<Table>,
    me: RelayId,
    link: Mutex<Option<MultiplexedConnection>>,
    calls: Semaphore,
    /// Whether there is a link, and whether there ever was one.
    state: watch::Sender<LinkState>,
    /// Asks the follower for something.
    request: Notify,
    requested: Mutex<Option<FollowerRequest>>,
}

/// A request to the follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FollowerRequest {
    /// A new snapshot, as the content is not what it was.
    Snapshot,
    /// A new link, as this one is broken.
    Link,
}

#[derive(Clone, Copy, Debug, Default)]
struct LinkState {
    is_up: bool,
    was_up: bool,
}

/// The task that keeps the table up to date, ended with the last [`Redis`].
#[derive(Debug)]
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Redis {
    /// Follows the registry from now on, on the runtime in which this is called. It need not be reachable yet.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidUrl`].
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn open(url: &str, region: &str, me: &RelayId) -> Result<Self, RegistryError> {
        let shared = Arc::new(Shared {
            client: Client::open(url).map_err(|_| RegistryError::InvalidUrl)?,
            scripts: Scripts::new(region),
            table: Table::new(me.clone()),
            me: me.clone(),
            link: Mutex::default(),
            calls: Semaphore::new(MAX_CONCURRENT_CALLS),
            state: watch::Sender::default(),
            request: Notify::new(),
            requested: Mutex::default(),
        });
        let follower = Arc::new(Follower(tokio::spawn(follow::run(Arc::clone(&shared)))));
        Ok(Self { shared, _follower: follower })
    }

    pub(super) fn table(&self) -> &Arc<Table> {
        &self.shared.table
    }

    #[cfg(test)]
    pub(super) fn is_connected(&self) -> bool {
        self.shared.state.borrow().is_up
    }

    pub(super) async fn synced(&self) {
        // The sender is in `shared`, so that it cannot be gone.
        let _ = self.shared.state.subscribe().wait_for(|state| state.was_up).await;
    }

    pub(super) async fn claim(&self, claim: &Claim) -> Result<(), ClaimError> {
        let shared = &self.shared;
        let pending = PendingClaim::begin(&shared.table, claim)?;
        let call = async {
            let _turn = shared.calls.acquire().await;
            shared.claims(std::slice::from_ref(claim)).await
        };
        let answers = bounded(MAX_CALL_TIME, call).await.flatten();
        match answers.map_err(ClaimError::Unavailable)?.pop() {
            Some(ClaimAnswer::Held) => {
                pending.settle();
                Ok(())
            }
            Some(ClaimAnswer::Stale { generation }) => Err(ClaimError::Stale { generation }),
            Some(ClaimAnswer::Full) => Err(ClaimError::Full),
            None => Err(ClaimError::Unavailable(RegistryError::Unreadable)),
        }
    }

    pub(super) async fn release(&self, claim: &Claim) {
        let shared = &self.shared;
        if !shared.table.update(|state| state.forget(claim)) {
            return;
        }
        let call = async {
            let _turn = shared.calls.acquire().await;
            shared.releases(&[claim.into()]).await
        };
        // What is not released now is a stray in the table, which the next beats release.
        let _ = bounded(MAX_CALL_TIME, call).await;
    }

    pub(super) async fn beat(&self, record: &RelayRecord, claims: &[Claim]) -> Result<(), RegistryError> {
        let shared = &self.shared;
        let (plan, lost) = shared.table.update(|state| {
            state.set_record(Some(record.clone()));
            (state.plan(claims), state.lost())
        });
        let (epoch, floor) = shared.table.read(|state| (state.epoch(), state.floor()));
        let beat = shared.beat(record).await?;
        let mut announce = plan.announce;
        if beat.epoch != epoch || beat.version <= floor {
            shared.request(FollowerRequest::Snapshot);
            announce = shared.table.read(crate::cluster::table::State::live);
        }
        for claims in announce.chunks(MAX_BATCH_ITEMS) {
            shared.claims(claims).await?;
        }
        for releases in plan.release.chunks(MAX_BATCH_ITEMS) {
            shared.releases(releases).await?;
        }
        for (relay, endpoints) in lost {
            shared.reap(&relay, &endpoints, false).await?;
        }
        Ok(())
    }

    pub(super) async fn leave(&self) {
        let shared = &self.shared;
        let endpoints = shared.table.update(|state| {
            state.set_record(None);
            state.clear()
        });
        // Where this fails, the record expires.
        let _ = bounded(MAX_CALL_TIME, shared.reap(&shared.me, &endpoints, true)).await;
    }
}

/// Waits for the outcome of a call for as long as `time`.
///
/// It is waited for in slices, so that a process that stood still itself, as on a machine that is overloaded, loses one
/// of them at most, and does not take what has come meanwhile for silence.
async fn bounded<T>(time: Duration, call: impl Future<Output = T>) -> Result<T, RegistryError> {
    let mut call = std::pin::pin!(call);
    for _ in 0..time.as_millis().div_ceil(CALL_SLICE.as_millis()) {
        if let Ok(outcome) = timeout(CALL_SLICE, &mut call).await {
            return Ok(outcome);
        }
    }
    Err(RegistryError::TimedOut)
}

/// The registry's answer to one claim.
#[derive(Debug)]
enum ClaimAnswer {
    Held,
    Stale { generation: u64 },
    Full,
}

/// The registry's answer to a heartbeat.
#[derive(Debug)]
struct HeartbeatReply {
    epoch: u64,
    version: u64,
}

impl Shared {
    fn connection(&self) -> Result<MultiplexedConnection, RegistryError> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(RegistryError::Disconnected)
    }

    fn set_link(&self, link: Option<MultiplexedConnection>) {
        let is_up = link.is_some();
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
        self.state.send_if_modified(|state| {
            let differs = state.is_up != is_up;
            state.is_up = is_up;
            state.was_up |= is_up;
            differs
        });
    }

    fn request(&self, request: FollowerRequest) {
        let mut requested = self.requested.lock().unwrap_or_else(PoisonError::into_inner);
        *requested = (*requested).max(Some(request));
        self.request.notify_one();
    }

    fn take_request(&self) -> Option<FollowerRequest> {
        self.requested.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Bounds a call, and notes when its connection is broken.
    async fn call<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, RegistryError> {
        bounded(MAX_CALL_TIME, call).await?.map_err(|error| {
            if error.is_unrecoverable_error() || error.is_io_error() || error.code() == Some("READONLY") {
                self.request(FollowerRequest::Link);
            }
            RegistryError::Failed(error)
        })
    }

    async fn claims(&self, claims: &[Claim]) -> Result<Vec<ClaimAnswer>, RegistryError> {
        let mut connection = self.connection()?;
        let call = self.scripts.claim(claims);
        let answers: Vec<String> = self.call(call.invoke_async(&mut connection)).await?;
        let (epoch, answers) = answers.split_first().ok_or(RegistryError::Unreadable)?;
        let epoch: u64 = epoch.parse().map_err(|_| RegistryError::Unreadable)?;
        let mut results = Vec::with_capacity(claims.len());
        let mut changes = Vec::new();
        for answer in answers.chunks_exact(2) {
            let row = wire::row(answer[1].as_bytes());
            results.push(match answer[0].as_str() {
                "held" => ClaimAnswer::Held,
                "full" => ClaimAnswer::Full,
                "stale" => ClaimAnswer::Stale {
                    generation: row.as_ref().map_or(u64::MAX, |(_, row)| row.generation),
                },
                _ => return Err(RegistryError::Unreadable),
            });
            changes.extend(row.map(|(version, row)| Change { version, what: ChangeKind::Row(row) }));
        }
        self.table.update(|state| {
            // The versions of another epoch say nothing before its snapshot is here.
            if state.epoch() == epoch {
                changes.into_iter().for_each(|change| state.apply(change));
            }
        });
        Ok(results)
    }

    async fn releases(&self, releases: &[Release]) -> Result<(), RegistryError> {
        let mut connection = self.connection()?;
        let call = self.scripts.release(&self.me, releases);
        self.call(call.invoke_async(&mut connection)).await
    }

    async fn beat(&self, record: &RelayRecord) -> Result<HeartbeatReply, RegistryError> {
        let mut connection = self.connection()?;
        let call = self.scripts.beat(record);
        let beat = self.call(call.invoke_async::<(u64, String)>(&mut connection)).await;
        if matches!(beat, Err(RegistryError::TimedOut)) {
            // Nothing but a few scripts goes before a beat: this connection is no good.
            self.request(FollowerRequest::Link);
        }
        match beat? {
            (_, version) if version.is_empty() => Err(RegistryError::TooManyRelays { limit: MAX_RELAYS }),
            (epoch, version) => {
                Ok(HeartbeatReply { epoch, version: version.parse().map_err(|_| RegistryError::Unreadable)? })
            }
        }
    }

    async fn reap(&self, relay: &RelayId, endpoints: &[Endpoint], leaves: bool) -> Result<(), RegistryError> {
        let mut connection = self.connection()?;
        let batches = endpoints.len().div_ceil(MAX_BATCH_ITEMS).max(1);
        for batch in 0..batches {
            let rest = &endpoints[batch * MAX_BATCH_ITEMS..];
            let call = self.scripts.reap(
                relay,
                leaves,
                batch + 1 == batches,
                &rest[..rest.len().min(MAX_BATCH_ITEMS)],
            );
            let is_gone: bool = self.call(call.invoke_async(&mut connection)).await?;
            if !is_gone {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
