//! The durable, global store of a provider: SQLite or Postgres.
//!
//! It holds what must outlive a region's relays and be the same in all regions: who owns a name, which tokens have
//! been used, which credentials are bound to which key, who is suspended. Both back ends behave alike;
//! `tests/contract.rs` is one suite that runs against each.
//!
//! Every call is bounded by [`CALL_TIMEOUT`], runs on the runtime in which the store was opened (so that the caller
//! may be on any other), continues when its caller is dropped, and is idempotent. Times are seconds since 1970 and come
//! from the caller. [`Store::changes`] wakes the caller when it should read again.

mod acme;
mod certificates;
mod changes;
mod complaints;
mod connections;
mod credentials;
mod dialect;
mod error;
mod fences;
mod lease;
mod listener;
mod migrations;
mod postgres;
mod prune;
mod relays;
mod reservations;
mod sqlite;
mod suspensions;
mod tokens;
mod url;

pub use acme::{ChallengeKind, ChallengeSet, StoredChallenge, StoredOrder};
pub use certificates::{CertificateSet, SealedKey, StoredCertificate};
pub use changes::{Changes, POLL_INTERVAL, Wakeups};
pub use complaints::{
    Complaint, ComplaintOutcome, Decision, EnforcementProgress, Entry, Filing, InvalidSubject, Phase, Scope,
    Subject,
};
pub use credentials::{BindCredentialError, BoundCredential, RevokedCredentials};
pub use error::{Cause, MigrateError, OpenError, StoreError};
pub use fences::Fence;
pub use lease::Lease;
pub use postgres::Postgres;
pub use prune::Pruned;
pub use relays::RelayStatus;
pub use reservations::{HeldName, Origin, Reservation, ReservationRequest, ReserveError};
pub use reservations::{LEASE_SECONDS, QUARANTINE_SECONDS};
pub use sqlite::Sqlite;
pub use suspensions::{Suspended, Suspension, Suspensions};
pub use tokens::{TOKEN_REPEAT_SECONDS, UseTokenError};
pub use url::{InvalidStoreUrl, StoreUrl};

use std::time::Duration;

/// The maximum time of a call, also of one that fails. Only [`Store::migrate`] may take longer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A provider's store. Clones share their connections.
#[derive(Clone, Debug)]
pub enum Store {
    /// One file, for a standalone relay.
    Sqlite(Sqlite),
    /// A database that all relays and the operator share.
    Postgres(Postgres),
}

impl Store {
    /// Opens a store without connecting: the first call fails if Postgres does not answer. The store's work runs on the
    /// caller's runtime, which must outlive it.
    pub fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| OpenError::Runtime)?;
        match url {
            StoreUrl::Sqlite(path) => Ok(Self::Sqlite(Sqlite::open(path, runtime)?)),
            StoreUrl::Postgres(url) => Ok(Self::Postgres(Postgres::open(url, runtime)?)),
        }
    }

    /// Migrates the tables, in at most a minute. Several programs may do so at once. Tables of a later version stay as they
    /// are, so that a relay of the previous version runs on them.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.migrate().await,
            Self::Postgres(postgres) => postgres.migrate().await,
        }
    }

    /// Grants a Postgres role the rights that a relay needs, without the right to change the schema. The caller's role must
    /// own the tables. Does nothing for SQLite, which has no roles.
    pub async fn grant_relay(&self, role: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(postgres) => postgres.grant_relay(role).await,
        }
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        connections::statement!(self, |connection| {
            sqlx::query("SELECT 1").execute(connection).await?;
            Ok(())
        })
    }

    /// Wake-ups for readers that hold a part of the store in memory. The first [`Changes::next`] returns at once.
    pub fn changes(&self) -> Changes {
        match self {
            Self::Sqlite(sqlite) => sqlite.changes(),
            Self::Postgres(postgres) => postgres.changes(),
        }
    }

    /// Wake-ups for readers that wait until relays enforce suspensions: after a relay has confirmed a version, started or
    /// ended, and whenever [`Store::changes`] wakes. Needs a Postgres connection of its own.
    pub fn confirmations(&self) -> Changes {
        match self {
            Self::Sqlite(sqlite) => sqlite.confirmations(),
            Self::Postgres(postgres) => postgres.confirmations(),
        }
    }

    /// The current source of the wake-ups of [`Store::changes`].
    pub fn wakeups(&self) -> Wakeups {
        match self {
            Self::Sqlite(_) => Wakeups::InProcess,
            Self::Postgres(postgres) => postgres.wakeups(),
        }
    }

    /// Wakes the readers of this process after a change of its own, also while notifications do not arrive.
    fn wake(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.wake(),
            Self::Postgres(postgres) => postgres.wake(),
        }
    }
}

impl Store {
    /// Wakes the readers of this process that wait for confirmations.
    fn wake_confirmed(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.wake_confirmed(),
            Self::Postgres(postgres) => postgres.wake_confirmed(),
        }
    }
}

/// A time or a generation as the back ends store it. A greater value than they can hold means forever.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of the store, which never holds a negative one.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
