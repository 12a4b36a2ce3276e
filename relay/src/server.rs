//! The life of a relay: open, bind, serve, drain, end.

mod admin;
mod certificates;
mod data_dir;
mod enforcement;
mod error;
mod listeners;
mod open;
mod relay;
mod relay_status;
mod reload;
mod revision;
mod running;
mod service;

use crate::{
    accounts::buffers::{self, BufferMeasurement},
    certificates::issuer,
    config::Config,
    lanes::Lanes,
    ops::{
        LifecyclePhase,
        metrics::{Count, Gauge},
    },
};
pub use certificates::CertificateSource;
pub use data_dir::DataDirError;
use data_dir::DataDirLock;
pub use error::ServeError;
pub use listeners::Bound;
use listeners::{bind, serve_all};
use open::open;
use relay::Relay;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A relay that serves.
pub struct Running {
    relay: Arc<Relay>,
    /// Where it listens.
    pub bound: Bound,
    /// What it serves.
    pub certificates: CertificateSource,
    lanes: Lanes,
    /// Held until the relay has ended.
    data_dir: DataDirLock,
    /// Cancelled when ops and admin end.
    stop: CancellationToken,
    beat: tokio::task::JoinHandle<Result<(), service::Unhealthy>>,
}

impl Running {
    /// The configuration with which it started.
    pub fn config(&self) -> &Config {
        &self.relay.config
    }

    /// The port in consumers' URLs by TLS.
    pub fn public_port(&self) -> u16 {
        self.relay.routing.public_port
    }

    /// Opens the access log anew at each call, for as long as the relay runs.
    pub fn access_log_reopener(&self) -> impl Fn() + Send + use<> {
        let telemetry = self.relay.telemetry.clone();
        move || telemetry.access_log.reopen()
    }
}

/// Opens the back ends, binds, and serves. Once this returns the relay answers.
///
/// # Errors
/// [`ServeError`]; nothing is left open then.
pub async fn start(config: Config) -> Result<Running, ServeError> {
    let data_dir = DataDirLock::take(&config.data_dir)?;
    let lanes = Lanes::start(config.lanes.unwrap_or_else(cores)).map_err(ServeError::Lanes)?;
    let (listeners, bound) = bind(&config, lanes.all().len())?;
    let (resolver, source, development) = certificates::certificates(&config)?;
    let relay = Arc::new(open(config, &bound, &lanes, resolver.clone()).await?);
    certificates::serve_kept(&relay);
    certificates::read_once(&relay).await;
    tokio::spawn(certificates::watch(relay.clone()));
    if let Some(acme) = relay.config.acme.clone() {
        let own = (bound.http.first().copied(), bound.https.first().copied());
        let own = certificates::own_certificate(&relay, acme, own);
        let (telemetry, closing) = (relay.telemetry.clone(), relay.lifecycle.closing.clone());
        tokio::spawn(async move { issuer::run(own, &telemetry.metrics, closing).await });
    }
    tokio::spawn(reload::watch(relay.clone()));
    if let Some(ca) = development {
        tokio::spawn(certificates::renew_development(relay.config.domain.clone(), ca, resolver));
    }
    let beat = spawn_services(&relay).await;
    let stop = CancellationToken::new();
    serve_all(&relay, listeners, &lanes, &stop)?;
    relay.telemetry.health.enter(LifecyclePhase::Ready);
    Ok(Running { relay, bound, certificates: source, lanes, data_dir, stop, beat })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How long a relay waits for the region's table before it is ready.
const SYNCED: Duration = Duration::from_secs(2);

async fn spawn_services(relay: &Arc<Relay>) -> tokio::task::JoinHandle<Result<(), service::Unhealthy>> {
    enforcement::begin(relay).await;
    // With an empty table the relay would say of its peers' endpoints that nothing is published there. When the registry is
    // away it starts all the same.
    let _ = tokio::time::timeout(SYNCED, relay.routing.registry.synced()).await;
    service::beat_once(relay).await;
    enforcement::ask_peers_at_start(relay).await;
    tokio::spawn(service::watch_owners(relay.routing.clone()));
    tokio::spawn(service::extend_leases(relay.routing.clone(), relay.store.clone()));
    tokio::spawn(enforcement::watch(relay.clone()));
    tokio::spawn(relay_status::watch(relay.clone()));
    tokio::spawn(service::prune_store(relay.store.clone()));
    let buffers = relay.frontend.proxy.buffers.all();
    let lanes = relay.frontend.sessions.lanes.iter().zip(relay.telemetry.lane_metrics()).zip(buffers);
    for ((lane, metrics), buffers) in lanes {
        let metrics = metrics.clone();
        let mut before = 0;
        buffers::spawn(lane, buffers.clone(), move |BufferMeasurement { unread, cut }| {
            (0..cut).for_each(|_| metrics.count(Count::StreamsShed));
            let unread = i64::try_from(unread).unwrap_or(i64::MAX);
            metrics.shift(Gauge::BufferedBytes, unread - before);
            before = unread;
        });
    }
    tokio::spawn(service::beat(relay.clone()))
}
