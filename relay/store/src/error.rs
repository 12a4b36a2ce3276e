//! Errors of the store.

use std::{io, path::PathBuf};

/// A store that cannot be opened. Nothing has been sent to a server yet.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not valid.
    #[error("the store's URL is not valid")]
    Url(#[source] crate::InvalidStoreUrl),
    /// The file of a SQLite store, or the folder that it is in, can be neither opened nor created.
    #[error("cannot open the store's file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// `Store::open` was called outside a tokio runtime.
    #[error("a store must be opened within the runtime that does its work")]
    Runtime,
}

/// The error of the driver.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Cause(pub(crate) sqlx::Error);

/// Tables that could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The store does not answer.
    #[error("the store is unavailable")]
    Unavailable(#[source] StoreError),
    /// A migration failed, or an applied one differs from this program's.
    #[error("the store's tables cannot be migrated")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A call that failed. The change may have been made all the same; every call may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no connection, or it broke.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Cause),
    /// No answer within [`crate::CALL_TIMEOUT`].
    #[error("the store did not answer within {} s", crate::CALL_TIMEOUT.as_secs())]
    Timeout,
    /// The call waited too long for a lock, as of a SQLite file that another program writes to.
    #[error("the store is busy")]
    Busy(#[source] Cause),
    /// The store refused: tables are missing, a right is missing, the disk is full.
    #[error("the store refused")]
    Refused(#[source] Cause),
    /// The runtime in which the store was opened has ended.
    #[error("the store's runtime has ended")]
    Stopped,
}

impl StoreError {
    pub(crate) fn from_driver(error: sqlx::Error) -> Self {
        if is_connection_lost(&error) {
            Self::Unreachable(Cause(error))
        } else if is_conflict(&error) {
            Self::Busy(Cause(error))
        } else {
            Self::Refused(Cause(error))
        }
    }

    /// Whether the TLS handshake failed as the URL requires it, as for an untrusted certificate. A retry does not help then.
    pub fn is_distrust(&self) -> bool {
        match self {
            Self::Unreachable(Cause(sqlx::Error::Tls(_))) => true,
            Self::Unreachable(Cause(sqlx::Error::Io(error))) => {
                error.kind() == std::io::ErrorKind::InvalidData
            }
            _ => false,
        }
    }
}

/// Whether the connection is useless after this error, and a new one may work.
///
/// Of Postgres' own errors these are classes 08 (connection) and 57P (the server shuts down or starts), 53300 (too
/// many connections) and 25006: a primary that has become a standby only takes reads.
pub(crate) fn is_connection_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || code.starts_with("57P") || code == "53300" || code == "25006"
        }),
        _ => false,
    }
}

/// Whether an immediate retry may succeed: a deadlock (40P01), a transaction that lost a race
/// (40001), or a SQLite file that another process holds (SQLITE_BUSY and its extended codes).
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    error.code().is_some_and(|code| ["40001", "40P01", "5", "261", "517", "773"].contains(&code.as_ref()))
}
