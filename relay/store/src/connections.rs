//! The connections to one back end, and the retries of every call.
//!
//! The driver's own pool waits for its whole time limit when a server refuses connections, and reuses a connection whose
//! call was cancelled only after the server has answered, which a frozen one never does. Here a refusal fails at once, and a
//! connection with any error is dropped.

use crate::{
    CALL_TIMEOUT, StoreError,
    error::{Cause, is_conflict, is_connection_lost},
};
use sqlx::{Connection, Executor};
use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Semaphore, sync::SemaphorePermit, time::timeout};

/// The time after which an idle connection is pinged before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

/// The maximum time of that ping; short, to leave time for a new connection.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// The maximum number of tries of a call, after conflicts or on new connections.
const MAX_TRIES: u32 = 5;

/// At most `slots` connections to one back end.
pub(crate) struct Connections<C: Connection> {
    options: C::Options,
    /// Statements that each new connection runs first; may be empty.
    setup: &'static str,
    slots: Semaphore,
    idle: Mutex<Idle<C>>,
    runtime: Handle,
}

/// The idle connections.
struct Idle<C> {
    all: Vec<(C, Instant)>,
    /// The number of failures of the back end. Connections from before a failure are dropped: they may lead to a server that
    /// was replaced and still answers reads.
    failures: u64,
}

impl<C> Connections<C>
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
{
    pub(crate) fn new(options: C::Options, setup: &'static str, slots: usize, runtime: Handle) -> Arc<Self> {
        let idle = Mutex::new(Idle { all: Vec::with_capacity(slots), failures: 0 });
        Arc::new(Self { options, setup, slots: Semaphore::new(slots), idle, runtime })
    }

    pub(crate) fn options(&self) -> &C::Options {
        &self.options
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// A connection that seems to work: an idle one or a new one.
    pub(crate) async fn take(&self) -> Result<Taken<'_, C>, sqlx::Error> {
        let permit = self.slots.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            let outcome = self.outcome();
            let Some((mut connection, since)) = self.pop() else {
                return match self.connect().await {
                    Ok(connection) => Ok(Taken { connection, reused: false, outcome, permit }),
                    Err(error) => {
                        outcome.alone();
                        Err(error)
                    }
                };
            };
            let trusted = since.elapsed() < IDLE_TRUSTED;
            if trusted || matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))) {
                return Ok(Taken { connection, reused: true, outcome, permit });
            }
        }
    }

    async fn connect(&self) -> Result<C, sqlx::Error> {
        let mut connection = C::connect_with(&self.options).await?;
        if !self.setup.is_empty() {
            connection.execute(self.setup).await?;
        }
        Ok(connection)
    }

    /// Runs one call on the store's runtime within the time limit, also if the caller is dropped.
    pub(crate) async fn bounded<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = self.runtime.spawn(async move { timeout(CALL_TIMEOUT, call).await });
        match task.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Timeout),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Stopped),
        }
    }
}

impl<C: Connection> Connections<C> {
    fn idle(&self) -> MutexGuard<'_, Idle<C>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<(C, Instant)> {
        self.idle().all.pop()
    }

    fn outcome(&self) -> Outcome<'_, C> {
        Outcome { home: self, failures: self.idle().failures, is_known: false }
    }
}

/// A connection in use. It is closed when it is dropped; only [`Taken::settle`] may give it back.
pub(crate) struct Taken<'a, C: Connection> {
    pub(crate) connection: C,
    reused: bool,
    outcome: Outcome<'a, C>,
    permit: SemaphorePermit<'a>,
}

/// The fate of the other connections after the use of one. Dropped without a result, because there was no answer in time,
/// it counts as a failure of the back end.
struct Outcome<'a, C: Connection> {
    home: &'a Connections<C>,
    failures: u64,
    is_known: bool,
}

impl<C: Connection> Outcome<'_, C> {
    /// Keeps the connection after a success, unless another one has failed meanwhile.
    fn keep(mut self, connection: C) {
        self.is_known = true;
        let mut idle = self.home.idle();
        if idle.failures == self.failures {
            idle.all.push((connection, Instant::now()));
        }
    }

    /// Drops this connection only: the error says nothing about the others.
    fn alone(mut self) {
        self.is_known = true;
    }
}

impl<C: Connection> Drop for Outcome<'_, C> {
    fn drop(&mut self) {
        if !self.is_known {
            let mut idle = self.home.idle();
            idle.failures += 1;
            let doubtful = std::mem::take(&mut idle.all);
            drop(idle);
            drop(doubtful);
        }
    }
}

/// The step after one try.
pub(crate) enum Settled<T> {
    Done(Result<T, StoreError>),
    Again,
}

impl<C: Connection> Taken<'_, C> {
    /// Returns the connection after a success, and decides about another try.
    pub(crate) fn settle<T>(self, result: Result<T, sqlx::Error>, tries: &mut u32) -> Settled<T> {
        *tries += 1;
        match result {
            Ok(value) => {
                self.outcome.keep(self.connection);
                drop(self.permit);
                Settled::Done(Ok(value))
            }
            Err(error) => {
                let is_lost = is_connection_lost(&error);
                if !is_lost {
                    self.outcome.alone();
                }
                if *tries < MAX_TRIES && ((self.reused && is_lost) || is_conflict(&error)) {
                    tracing::debug!(%error, tries, "store call failed; retrying");
                    Settled::Again
                } else {
                    Settled::Done(Err(StoreError::from_driver(error)))
                }
            }
        }
    }
}

/// The error of a connection that could not be made.
pub(crate) fn no_connection(error: sqlx::Error) -> StoreError {
    StoreError::Unreachable(Cause(error))
}

/// Runs one statement, or several without a transaction, on whichever back end the store has. The block is compiled
/// for each back end, so that one text serves both; it gives `Result<T, sqlx::Error>`, owns what it names from
/// outside, and runs again from its start after a conflict or a lost connection.
macro_rules! statement {
    ($store:expr, |$connection:ident| $work:block) => {
        match $store {
            $crate::Store::Sqlite(store) => {
                $crate::connections::statement!(@on store.connections(), $connection, $work)
            }
            $crate::Store::Postgres(store) => {
                $crate::connections::statement!(@on store.connections(), $connection, $work)
            }
        }
    };
    (@on $connections:expr, $connection:ident, $work:block) => {{
        let connections = std::sync::Arc::clone($connections);
        let call = {
            let connections = std::sync::Arc::clone(&connections);
            async move {
                let mut tries = 0;
                loop {
                    let mut taken = connections.take().await.map_err($crate::connections::no_connection)?;
                    let $connection = &mut taken.connection;
                    let result: Result<_, sqlx::Error> = async { $work }.await;
                    match taken.settle(result, &mut tries) {
                        $crate::connections::Settled::Done(result) => return result,
                        $crate::connections::Settled::Again => {}
                    }
                }
            }
        };
        connections.bounded(call).await
    }};
}

/// As [`statement!`], in one transaction that is committed when the block gives `Ok`. SQLite takes its lock for writing
/// at once: a transaction that reads first and then finds another writer ahead of it cannot go on.
macro_rules! transaction {
    ($store:expr, |$connection:ident| $work:block) => {
        match $store {
            $crate::Store::Sqlite(store) => $crate::connections::statement!(@on store.connections(), raw, {
                $crate::connections::transaction!(@in raw, "BEGIN IMMEDIATE", $connection, $work)
            }),
            $crate::Store::Postgres(store) => $crate::connections::statement!(@on store.connections(), raw, {
                $crate::connections::transaction!(@in raw, "BEGIN", $connection, $work)
            }),
        }
    };
    (@in $raw:ident, $begin:literal, $connection:ident, $work:block) => {{
        let mut transaction = sqlx::Connection::begin_with($raw, $begin).await?;
        let $connection = &mut *transaction;
        let result: Result<_, sqlx::Error> = async { $work }.await;
        let value = result?;
        transaction.commit().await?;
        Ok(value)
    }};
}

pub(crate) use {statement, transaction};
