//! The connection that listens for Postgres' notifications.
//!
//! It probes itself: a notification that is sent on another connection must arrive here. That detects a transaction pooler
//! in between and a connection whose network is gone.

use crate::{Wakeups, changes::Bell, connections::Connections};
use sqlx::{
    PgConnection,
    postgres::{PgListener, PgPoolOptions},
};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

/// The channel for changes of the rows that relays hold in memory; triggers of the migrations notify it.
pub(crate) const CHANGED: &str = "adit";
/// The channel for confirmations by relays.
pub(crate) const CONFIRMED: &str = "adit_confirmed";

/// The maximum time of a connect, a statement, or the way of a probe.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// The interval between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// The delay before a reconnect: the first and the maximum.
const RECONNECT_DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The reason why listening ended.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("the listening connection is lost")]
    Lost(#[source] sqlx::Error),
    #[error("the listening connection was closed")]
    Closed,
    #[error("cannot send a probe")]
    Probe(#[source] crate::StoreError),
    #[error("no answer within {} s", STEP_TIMEOUT.as_secs())]
    Timeout,
    #[error("a notification did not arrive; is a transaction pooler in front of Postgres?")]
    Unheard,
}

/// The listening task. It ends when this is dropped.
pub(crate) struct Listener {
    task: AbortHandle,
    heard: Arc<AtomicBool>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    pub(crate) fn start(
        connections: &Arc<Connections<PgConnection>>,
        bell: &Arc<Bell>,
        channel: &'static str,
    ) -> Self {
        let heard = Arc::new(AtomicBool::new(false));
        let ear = Ear {
            channel,
            connections: Arc::clone(connections),
            bell: Arc::clone(bell),
            heard: Arc::clone(&heard),
            probe: format!("adit_probe_{:016x}", RandomState::new().build_hasher().finish()),
        };
        let task = connections.runtime().spawn(ear.listen_always()).abort_handle();
        Self { task, heard }
    }

    pub(crate) fn wakeups(&self) -> Wakeups {
        if self.heard.load(Ordering::Relaxed) { Wakeups::Notified } else { Wakeups::PollingOnly }
    }
}

struct Ear {
    channel: &'static str,
    connections: Arc<Connections<PgConnection>>,
    bell: Arc<Bell>,
    heard: Arc<AtomicBool>,
    probe: String,
}

impl Ear {
    async fn listen_always(self) {
        let mut pause = RECONNECT_DELAY.0;
        let mut warned = false;
        loop {
            let error = match self.connect().await {
                Ok(mut listener) => {
                    pause = RECONNECT_DELAY.0;
                    // Whatever happened before this connection listened is found by reading now.
                    self.bell.ring();
                    self.listen(&mut listener).await
                }
                Err(error) => error,
            };
            self.heard.store(false, Ordering::Relaxed);
            if matches!(error, ListenError::Unheard) {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!("{error} Polling every 5 s instead.");
                }
                pause = PROBE_INTERVAL;
            } else {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "listening connection lost; reconnecting"
                );
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_DELAY.1);
        }
    }

    async fn connect(&self) -> Result<PgListener, ListenError> {
        let connect = async {
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(STEP_TIMEOUT)
                .max_lifetime(None)
                .idle_timeout(None)
                .connect_lazy_with(self.connections.options().clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.ignore_pool_close_event(true);
            listener.eager_reconnect(false);
            listener.listen_all([self.channel, self.probe.as_str()]).await?;
            Ok(listener)
        };
        timeout(STEP_TIMEOUT, connect).await.map_err(|_| ListenError::Timeout)?.map_err(ListenError::Lost)
    }

    /// Listens until an error.
    async fn listen(&self, listener: &mut PgListener) -> ListenError {
        loop {
            if let Err(error) = self.send_probe().await {
                return error;
            }
            let sent = Instant::now();
            let mut arrived = false;
            loop {
                let until = sent + if arrived { PROBE_INTERVAL } else { STEP_TIMEOUT };
                match timeout_at(until, listener.try_recv()).await {
                    Ok(Ok(Some(notification))) if notification.channel() == self.probe => {
                        arrived = true;
                        self.heard.store(true, Ordering::Relaxed);
                    }
                    Ok(Ok(Some(_))) => self.bell.ring(),
                    Ok(Ok(None)) => return ListenError::Closed,
                    Ok(Err(error)) => return ListenError::Lost(error),
                    Err(_) if arrived => break,
                    Err(_) => return ListenError::Unheard,
                }
            }
        }
    }

    /// Notifies the probe's channel on a connection that is not the listening one.
    async fn send_probe(&self) -> Result<(), ListenError> {
        let probe = self.probe.clone();
        let connections = &self.connections;
        let result: Result<(), crate::StoreError> = crate::connections::statement!(@on connections, connection, {
            sqlx::query("SELECT pg_notify($1, '')").bind(&probe).execute(connection).await?;
            Ok(())
        });
        result.map_err(ListenError::Probe)
    }
}
