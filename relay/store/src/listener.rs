//! The connection that listens for Postgres' notifications.
//!
//! It is a connection of its own, so that no transaction pooler can come between unnoticed: a probe that goes out on
//! another connection must arrive here. That also finds a listening connection whose network went away without a word.

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

/// The channel that tells of changes to what relays hold in memory, by the triggers of the migrations.
pub(crate) const CHANGED: &str = "adit";
/// The channel that tells of what relays have confirmed.
pub(crate) const CONFIRMED: &str = "adit_confirmed";

/// How long connecting, a statement or the way of a probe may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a probe is sent.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// The pause before a lost connection is made anew, at first and at most.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Why listening ended.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("the connection that listens is lost")]
    Lost(#[source] sqlx::Error),
    #[error("the connection that listens was closed")]
    Closed,
    #[error("no probe can be sent")]
    Probe(#[source] crate::StoreError),
    #[error("no answer within {} s", STEP_TIMEOUT.as_secs())]
    Timeout,
    #[error("a notification did not arrive; is a transaction pooler in front of Postgres?")]
    Unheard,
}

/// The task that listens; it ends when this is dropped.
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
        let mut pause = RECONNECT_PAUSE.0;
        let mut warned = false;
        loop {
            let error = match self.connect().await {
                Ok(mut listener) => {
                    pause = RECONNECT_PAUSE.0;
                    // Whatever happened before this connection listened is found by reading now.
                    self.bell.ring();
                    self.listen(&mut listener).await
                }
                Err(error) => error,
            };
            self.heard.store(false, Ordering::Relaxed);
            if matches!(error, ListenError::Unheard) {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!("{error} Changes are found by reading every 5 s.");
                }
                pause = PROBE_INTERVAL;
            } else {
                tracing::debug!(error = &error as &dyn std::error::Error, "listening for changes ended");
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE.1);
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

    /// Listens until something is wrong.
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
