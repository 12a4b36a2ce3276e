//! The store that all relays of a provider and its operator share: one Postgres database.

use crate::{
    Changes, MigrateError, OpenError, POLL_INTERVAL, StoreError, Wakeups,
    changes::Bell,
    connections::Connections,
    listener::{CHANGED, CONFIRMED, Listener},
    url::postgres_options,
};
use sqlx::{ConnectOptions, Connection, PgConnection, migrate::MigrateError as DriverError};
use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{runtime::Handle, time::timeout};

/// The number of connections of one relay for calls, beside the listening one.
const CONNECTIONS: usize = 2;

/// The first statements of each connection. The server cancels statements that the relay no longer waits for. A stricter
/// default isolation would only add conflicts, because every statement is correct at this level. A standby refuses the last
/// statement: its answers may be old, and a primary never becomes a standby while a connection lives.
const SETUP: &str = "SET statement_timeout = '2s'; SET idle_in_transaction_session_timeout = '2s'; \
     SET default_transaction_isolation = 'read committed'; BEGIN READ WRITE; COMMIT";

/// The rights of a relay by table. It changes no schema, no suspension, and no table of other programs.
const RELAY_RIGHTS: [(&str, &str); 6] = [
    ("SELECT", "_sqlx_migrations, versions, suspensions"),
    ("SELECT", "certificates, certificate_keys, acme_challenges"),
    ("SELECT, INSERT, UPDATE", "reservations, used_tokens"),
    ("SELECT, INSERT, UPDATE", "credentials"),
    ("SELECT, INSERT, UPDATE, DELETE", "relays"),
    ("SELECT, INSERT, UPDATE", "enforcements"),
];

/// The maximum time of all migrations together.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(60);

/// A Postgres database with two connections for calls and, once [`crate::Store::changes`] was called, one that listens.
#[derive(Clone)]
pub struct Postgres {
    connections: Arc<Connections<PgConnection>>,
    bell: Arc<Bell>,
    listener: Arc<OnceLock<Listener>>,
    confirmed: Arc<Bell>,
    confirmed_listener: Arc<OnceLock<Listener>>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options = self.connections.options();
        f.debug_struct("Postgres")
            .field("host", &options.get_host())
            .field("port", &options.get_port())
            .field("database", &options.get_database())
            .finish_non_exhaustive()
    }
}

impl Postgres {
    pub(crate) fn open(url: &str, runtime: Handle) -> Result<Self, OpenError> {
        let options = postgres_options(url)
            .map_err(OpenError::Url)?
            .application_name("adit")
            .disable_statement_logging();
        Ok(Self {
            connections: Connections::new(options, SETUP, CONNECTIONS, runtime),
            bell: Arc::new(Bell::new(POLL_INTERVAL)),
            listener: Arc::new(OnceLock::new()),
            confirmed: Arc::new(Bell::new(POLL_INTERVAL)),
            confirmed_listener: Arc::new(OnceLock::new()),
        })
    }

    pub(crate) fn connections(&self) -> &Arc<Connections<PgConnection>> {
        &self.connections
    }

    pub(crate) async fn migrate(&self) -> Result<(), MigrateError> {
        let options = self.connections.options().clone();
        let run = async move {
            let connect = timeout(crate::CALL_TIMEOUT, PgConnection::connect_with(&options));
            let mut connection =
                connect.await.map_err(|_| StoreError::Timeout)?.map_err(crate::connections::no_connection)?;
            let migrator = crate::migrations::postgres();
            // A relay whose role may only use the tables asks for nothing more once they are there.
            if applied(&mut connection)
                .await
                .is_some_and(|done| migrator.iter().all(|one| done.contains(&one.version)))
            {
                return Ok(Ok(()));
            }
            Ok(migrator.run_direct(None, &mut connection, false).await)
        };
        migrated(self.connections.runtime(), run).await
    }

    /// Grants a role the rights of a relay and revokes all others.
    pub(crate) async fn grant_relay(&self, role: &str) -> Result<(), StoreError> {
        let role = role.replace('"', "\"\"");
        let options = self.connections.options().clone();
        self.connections
            .bounded(async move {
                let mut connection =
                    PgConnection::connect_with(&options).await.map_err(crate::connections::no_connection)?;
                for (rights, tables) in RELAY_RIGHTS {
                    let statement = format!("GRANT {rights} ON {tables} TO \"{role}\"");
                    let granted =
                        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await;
                    granted.map_err(StoreError::from_driver)?;
                }
                Ok(())
            })
            .await
    }

    pub(crate) fn changes(&self) -> Changes {
        self.listener.get_or_init(|| Listener::start(&self.connections, &self.bell, CHANGED));
        self.bell.changes()
    }

    pub(crate) fn confirmations(&self) -> Changes {
        let listen = || Listener::start(&self.connections, &self.confirmed, CONFIRMED);
        self.confirmed_listener.get_or_init(listen);
        self.confirmed.changes()
    }

    pub(crate) fn wake_confirmed(&self) {
        self.confirmed.ring();
    }

    pub(crate) fn wakeups(&self) -> Wakeups {
        self.listener.get().map_or(Wakeups::PollingOnly, Listener::wakeups)
    }

    pub(crate) fn wake(&self) {
        self.bell.ring();
    }
}

/// The migrations that have been applied; `None` if that is unknown.
async fn applied(connection: &mut PgConnection) -> Option<Vec<i64>> {
    let query = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success");
    query.fetch_all(connection).await.ok()
}

/// Runs a migration of either back end on the store's runtime and within its time limit.
pub(crate) async fn migrated(
    runtime: &Handle,
    run: impl Future<Output = Result<Result<(), DriverError>, StoreError>> + Send + 'static,
) -> Result<(), MigrateError> {
    let run = runtime.spawn(async move { timeout(MIGRATE_TIMEOUT, run).await });
    match run.await {
        Ok(Ok(Ok(Ok(())))) => Ok(()),
        Ok(Ok(Ok(Err(error)))) => Err(MigrateError::Migration(error.into())),
        Ok(Ok(Err(error))) => Err(MigrateError::Unavailable(error)),
        Ok(Err(_)) => Err(MigrateError::Unavailable(StoreError::Timeout)),
        Err(_) => Err(MigrateError::Unavailable(StoreError::Stopped)),
    }
}
