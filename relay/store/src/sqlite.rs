//! The store of a standalone relay: one file.

use crate::{
    Changes, MigrateError, OpenError, POLL_INTERVAL, StoreError, changes::Bell, connections::Connections,
};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// The time for which a statement waits for another process that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_millis(1500);

/// The time for which a migration waits for that of another program.
const MIGRATE_BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A SQLite file with one connection, which runs calls one after the other.
#[derive(Clone)]
pub struct Sqlite {
    connections: Arc<Connections<SqliteConnection>>,
    bell: Arc<Bell>,
    confirmed: Arc<Bell>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.connections.options().get_filename()).finish()
    }
}

impl Sqlite {
    pub(crate) fn open(path: &Path, runtime: Handle) -> Result<Self, OpenError> {
        // The file is made here, not by SQLite, so that only its owner can read it; SQLite gives its companions the
        // same mode.
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        Ok(Self {
            connections: Connections::new(options, "", 1, runtime),
            bell: Arc::new(Bell::new(POLL_INTERVAL)),
            confirmed: Arc::new(Bell::new(POLL_INTERVAL)),
        })
    }

    pub(crate) fn connections(&self) -> &Arc<Connections<SqliteConnection>> {
        &self.connections
    }

    pub(crate) async fn migrate(&self) -> Result<(), MigrateError> {
        let connections = Arc::clone(&self.connections);
        let run = async move {
            let options = connections.options().clone().busy_timeout(MIGRATE_BUSY_TIMEOUT);
            let mut connection =
                SqliteConnection::connect_with(&options).await.map_err(crate::connections::no_connection)?;
            let migrator = crate::migrations::sqlite();
            // Where Postgres has a lock of the migrator's own, the file's lock for writing makes the second of two
            // programs wait, and find the first one's tables.
            let mut transaction =
                connection.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from_driver)?;
            let migrated = migrator.run_direct(None, &mut *transaction, false).await;
            if migrated.is_ok() {
                transaction.commit().await.map_err(StoreError::from_driver)?;
            }
            Ok(migrated)
        };
        crate::postgres::migrated(self.connections.runtime(), run).await
    }

    pub(crate) fn changes(&self) -> Changes {
        self.bell.changes()
    }

    pub(crate) fn confirmations(&self) -> Changes {
        self.confirmed.changes()
    }

    pub(crate) fn wake_confirmed(&self) {
        self.confirmed.ring();
    }

    pub(crate) fn wake(&self) {
        self.bell.ring();
    }
}
