//! The registry: who serves an endpoint now, and which relays there are. Ephemeral, and of one region.
//!
//! Requests never ask it. They read the [`Table`], which the registry keeps up to date; what the registry decides is
//! who may have an endpoint. It is a cache of what the relays' sessions serve: when it loses its content, the relays
//! say anew what they serve with their next [`beat`](Registry::beat), and when it is gone, the last table stays.

mod claims;
mod memory;
mod redis;

#[cfg(test)]
mod contract;

pub(crate) use crate::cluster::row::Claim;
use crate::{
    cluster::table::{MAX_ROWS, MAX_SESSIONS, RelayRecord, Table},
    config::RegistryUrl,
};
use adit_protocol::RelayId;
pub(crate) use memory::Memory;
pub(crate) use redis::Redis;
use std::{sync::Arc, time::Duration};

/// Interval between heartbeats of a relay. Its record expires after three missed heartbeats.
pub(crate) const BEAT_INTERVAL: Duration = Duration::from_secs(2);

/// Why the registry could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The URL is not one of a Redis server. It is not shown, as it may hold a password.
    #[error("the registry's URL is not one of a Redis server")]
    InvalidUrl,
    /// There is no connection at the moment.
    #[error("not connected to the registry")]
    Disconnected,
    /// No answer in time.
    #[error("no answer from the registry within its time")]
    TimedOut,
    /// Redis has refused something, or the connection has failed.
    #[error("the registry's Redis failed")]
    Failed(#[source] ::redis::RedisError),
    /// An answer that no script of this version gives.
    #[error("the registry's answer cannot be read")]
    Unreadable,
    /// The content was lost while it was read.
    #[error("the registry lost its content while it was read")]
    ContentLost,
    /// Too many relays in the region.
    #[error("the region has {limit} relays already, which is the most it can have")]
    TooManyRelays {
        /// The most.
        limit: usize,
    },
}

/// Why a session may not serve an endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Another owner has it: with a greater generation, or with the same one.
    #[error("another owner has the endpoint, with generation {generation}")]
    Stale {
        /// The generation of the owner.
        generation: u64,
    },
    /// The endpoint has as many sessions, or the region as many endpoints, as it can have.
    #[error("the registry is full: at most {MAX_SESSIONS} sessions an endpoint and {MAX_ROWS} endpoints")]
    Full,
    /// The registry could not be asked. It is not known whether the claim holds there; the next beats see to it.
    #[error("the registry is not available")]
    Unavailable(#[source] RegistryError),
}

/// The region's registry.
///
/// Its calls may come from any runtime. None takes longer than a second.
#[derive(Clone, Debug)]
pub(crate) enum Registry {
    /// In this process: for a relay that is alone.
    Memory(Memory),
    /// In Redis: for the relays of a region.
    Redis(Redis),
}

impl Registry {
    /// Opens the region's registry for the relay `me`. Redis need not be reachable: see [`Registry::synced`].
    ///
    /// With Redis, a task on the runtime in which this is called keeps the table up to date until the last clone of the
    /// registry is dropped.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidUrl`].
    ///
    /// # Panics
    ///
    /// With Redis outside of a runtime.
    pub(crate) async fn open(url: &RegistryUrl, region: &str, me: &RelayId) -> Result<Self, RegistryError> {
        Ok(match url {
            RegistryUrl::Memory => Self::Memory(Memory::new(me)),
            RegistryUrl::Redis(url) => Self::Redis(Redis::open(url.expose(), region, me)?),
        })
    }

    /// Whether claims can be decided at the moment.
    #[cfg(test)]
    pub(crate) fn is_connected(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(redis) => redis.is_connected(),
        }
    }

    /// Waits until the table has the region's rows for the first time; before, a relay knows of its own alone.
    pub(crate) async fn synced(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(redis) => redis.synced().await,
        }
    }

    /// The table that this registry keeps up to date.
    pub(crate) fn table(&self) -> &Arc<Table> {
        match self {
            Self::Memory(memory) => memory.table(),
            Self::Redis(redis) => redis.table(),
        }
    }

    /// Asks for an endpoint for a session of this relay. When it returns `Ok`, the session is in the table.
    ///
    /// A greater generation takes the endpoint and drops the sessions of the lesser; an equal one of the same account
    /// and instance adds the session, and the row takes the claim's tunnel.
    ///
    /// # Errors
    ///
    /// [`ClaimError`]; the session is not in the table then.
    pub(crate) async fn claim(&self, claim: &Claim) -> Result<(), ClaimError> {
        match self {
            Self::Memory(memory) => memory.claim(claim),
            Self::Redis(redis) => redis.claim(claim).await,
        }
    }

    /// Puts a session that is entitled otherwise, by its resume ticket, into this relay's table without asking.
    ///
    /// The next beats announce it.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Stale`] when this relay knows of an owner that goes before.
    pub(crate) fn admit(&self, claim: &Claim) -> Result<(), ClaimError> {
        claims::admit(self.table(), claim)
    }

    /// Takes the session off the endpoint: in this table at once, elsewhere as soon as the registry can be reached.
    pub(crate) async fn release(&self, claim: &Claim) {
        match self {
            Self::Memory(memory) => memory.release(claim),
            Self::Redis(redis) => redis.release(claim).await,
        }
    }

    /// Sends a heartbeat with the claims of this relay's sessions; to be called every [`BEAT_INTERVAL`].
    ///
    /// `claims` are all claims that hold: what the registry lacks of them is announced, and what it has of this relay
    /// beyond them is released. A claim that three beats in a row do not list is released as well.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when not all of it could be said. The next beat makes up for it.
    pub(crate) async fn beat(&self, record: &RelayRecord, claims: &[Claim]) -> Result<(), RegistryError> {
        match self {
            Self::Memory(memory) => memory.beat(record, claims),
            Self::Redis(redis) => redis.beat(record, claims).await,
        }
    }

    /// Takes this relay's record out, and its sessions where they still are in: the last thing that it does.
    pub(crate) async fn leave(&self) {
        match self {
            Self::Memory(memory) => memory.leave(),
            Self::Redis(redis) => redis.leave().await,
        }
    }
}
