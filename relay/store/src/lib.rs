//! The durable, global store of a provider: SQLite or Postgres.
//!
//! It holds what must outlive a region's relays and be the same in all regions: who owns a name, which tokens have
//! been used, which credentials are bound to which key, who is suspended. Both back ends behave alike;
//! `tests/contract.rs` is one suite that runs against each.
//!
//! Every call is bounded by [`CALL_TIMEOUT`], runs on the runtime in which the store was opened (so that the caller
//! may be on any other), goes on when its caller is dropped, and may be repeated without harm. Times are seconds
//! since 1970 and come from the caller. [`Store::changes`] says when to read again.

mod acme;
mod certificates;
mod changes;
mod complaints;
mod connections;
mod credentials;
mod dialect;
mod error;
mod fences;
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
    Complaint, Decision, Entry, Filing, Judged, Phase, Scope, Standing, Subject, UnclearSubject,
};
pub use credentials::{BindCredentialError, BoundCredential, RevokedCredentials};
pub use error::{Cause, MigrateError, OpenError, StoreError};
pub use fences::Fence;
pub use postgres::Postgres;
pub use prune::Pruned;
pub use relays::RelaySeen;
pub use reservations::{HeldName, Lease, Origin, Reservation, Reserve, ReserveError};
pub use reservations::{LEASE_SECONDS, QUARANTINE_SECONDS};
pub use sqlite::Sqlite;
pub use suspensions::{Suspended, Suspension, Suspensions};
pub use tokens::{TOKEN_REPEAT_SECONDS, UseTokenError};
pub use url::{InvalidStoreUrl, StoreUrl};

use std::time::Duration;

/// The longest that a call takes, an error included. [`Store::migrate`] alone may take longer.
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
    /// Opens a store without a call to it: a Postgres that is away is found out at the first call. The runtime of
    /// the caller does the store's work from now on and must outlive it.
    pub fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| OpenError::Runtime)?;
        match url {
            StoreUrl::Sqlite(path) => Ok(Self::Sqlite(Sqlite::open(path, runtime)?)),
            StoreUrl::Postgres(url) => Ok(Self::Postgres(Postgres::open(url, runtime)?)),
        }
    }

    /// Brings the tables up to date. Several programs may do so at once. Tables of a later version are left alone, so
    /// that a relay of the version before runs on them. Takes at most a minute.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.migrate().await,
            Self::Postgres(postgres) => postgres.migrate().await,
        }
    }

    /// Gives a role of a Postgres store what a relay needs, without a right to change the schema; a file has no roles.
    /// The caller's own role has to own the tables.
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

    /// Wake-ups for whoever holds a part of the store in memory. The first [`Changes::next`] returns at once.
    pub fn changes(&self) -> Changes {
        match self {
            Self::Sqlite(sqlite) => sqlite.changes(),
            Self::Postgres(postgres) => postgres.changes(),
        }
    }

    /// Wake-ups for whoever waits for relays to enforce suspensions: when one has confirmed a version, begins or is gone,
    /// and as [`Store::changes`] otherwise. In Postgres it costs a connection of its own.
    pub fn confirmations(&self) -> Changes {
        match self {
            Self::Sqlite(sqlite) => sqlite.confirmations(),
            Self::Postgres(postgres) => postgres.confirmations(),
        }
    }

    /// How the wake-ups of [`Store::changes`] come about just now.
    pub fn wakeups(&self) -> Wakeups {
        match self {
            Self::Sqlite(_) => Wakeups::InProcess,
            Self::Postgres(postgres) => postgres.wakeups(),
        }
    }

    /// Wakes this process after a change of its own: at once, even where notifications do not arrive.
    fn wake(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.wake(),
            Self::Postgres(postgres) => postgres.wake(),
        }
    }
}

impl Store {
    /// Wakes those of this process who wait for confirmations.
    fn wake_confirmed(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.wake_confirmed(),
            Self::Postgres(postgres) => postgres.wake_confirmed(),
        }
    }
}

/// A time or a generation as the back ends have it. What is greater than they can hold is for ever anyway.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number from the store, which never holds a negative one.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
