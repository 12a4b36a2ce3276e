//! What there is before a relay serves: back ends, keys, metrics.

use super::{Bound, ServeError};
use crate::{
    accounts::Accounts,
    auth::{CredentialLifetimes, Keys, ProofSealer},
    certificates::{Certificates, TlsConfigs, challenges::Challenges, served::ServedCertificates},
    cluster::{
        peer::{Peers, tls::PeerTls},
        registry::Registry,
    },
    config::Config,
    lanes::Lanes,
    ops::{
        access_log::{AccessLog, RequestIds},
        metrics::{MetricKind, Metrics},
    },
    public::connection_limit::ConnectionLimit,
    routing::local::Local,
    server::{
        relay::{LaneTelemetry, Relay},
        reload::{LiveConfig, Revision},
    },
    suspensions::SuspensionSet,
};
use adit_protocol::RelayId;
use adit_store::{MigrateError, Store, StoreError};
use arc_swap::ArcSwap;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Opens the back ends and puts the relay together.
pub(super) async fn open(
    config: Config,
    bound: &Bound,
    lanes: &Lanes,
    certificates: Arc<Certificates>,
) -> Result<Relay, ServeError> {
    let id = config.name.clone().unwrap_or_else(random_id);
    let store = Store::open(&config.store)?;
    migrate(&store).await?;
    let registry = Registry::open(&config.registry, &config.domain, &id).await?;
    let keys = match &config.keys {
        Some(files) => Keys::load(&files.region, &files.tokens)?,
        None => Keys::load_or_create(&config.data_dir)?,
    };
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let table = registry.table().clone();
    let help = "Healthy relays of the region, this one included";
    metrics.watch("adit_relays", help, MetricKind::Gauge, move || table.relays().len() as u64);
    let suspensions = Arc::new(SuspensionSet::default());
    suspensions.show_in(&metrics);
    let served = served(&metrics);
    let access_log = AccessLog::open(&config.access_log)?;
    access_log.show_in(&metrics);
    let number = rand::random();
    let telemetry = |index| LaneTelemetry {
        metrics: metrics.lane(),
        log: access_log.lane(),
        ids: RequestIds::new(number, u16::try_from(index).unwrap_or(u16::MAX)),
        buffers: Arc::default(),
    };
    let live = ArcSwap::from_pointee(LiveConfig::new(&config, &keys)?);
    let revision = Mutex::new(Revision::of(&config));
    let lane_telemetry: Vec<LaneTelemetry> = (0..=lanes.all().len()).map(telemetry).collect();
    let others = lane_telemetry.last().expect("there is one beside those of the lanes").metrics.clone();
    let connection_limit = Arc::new(ConnectionLimit::open_files(config.connections));
    connection_limit.show_in(&metrics);
    let peer_tls = config.peer.as_ref().map(|peer| PeerTls::read(peer, &config.domain)).transpose()?;
    let peers = Peers::new(peer_tls, registry.table().clone(), id.clone(), lanes.all().len(), others);
    let first = |addresses: &[SocketAddr], otherwise| addresses.first().map_or(otherwise, SocketAddr::port);
    let public_port = if config.public_port == 0 { first(&bound.https, 443) } else { config.public_port };
    Ok(Relay {
        live,
        revision,
        news: tokio::sync::Notify::new(),
        seal: ProofSealer::new(&keys.region),
        keys,
        accounts: Accounts::default(),
        access_log,
        lane_telemetry,
        connection_limit,
        registry_up: std::sync::atomic::AtomicBool::new(true),
        plain_port: first(&bound.http, 80),
        public_port,
        lanes: lanes.all().to_vec(),
        local: Local::default(),
        tls: TlsConfigs::new(certificates, &config.domain)?,
        challenges: Challenges::default(),
        served,
        metrics: Arc::new(metrics),
        health: Arc::default(),
        draining: CancellationToken::new(),
        draining_asked: tokio::sync::Notify::new(),
        closed: CancellationToken::new(),
        closing: CancellationToken::new(),
        suspensions,
        remembered: Mutex::default(),
        rules: CredentialLifetimes::default(),
        id,
        config,
        registry,
        store,
        peers,
    })
}

/// Brings the tables up to date. A Postgres that is away does not keep the relay from starting: what needs the store is
/// refused meanwhile, and the tables are there since the relays before. One that is not trusted does.
async fn migrate(store: &Store) -> Result<(), MigrateError> {
    match store.migrate().await {
        Err(MigrateError::Unavailable(error @ (StoreError::Unreachable(_) | StoreError::Timeout)))
            if matches!(store, Store::Postgres(_)) && !error.is_distrust() =>
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "starting without the store");
            let store = store.clone();
            tokio::spawn(async move {
                while store.migrate().await.is_err() {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            });
            Ok(())
        }
        other => other,
    }
}

/// What is served of the store's certificates: nothing yet.
fn served(metrics: &Metrics) -> Arc<ServedCertificates> {
    let served: Arc<ServedCertificates> = Arc::default();
    let ends = served.clone();
    metrics.watch(
        "adit_certificate_not_after_seconds",
        "When the first of the store's certificates ends, in seconds since 1970; 0 without one",
        MetricKind::Gauge,
        move || ends.not_after(),
    );
    served
}

/// `<host name>-<random>`, so that two relays of one machine differ.
fn random_id() -> RelayId {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    let host: String = host.trim().to_ascii_lowercase().chars().filter(allowed).take(40).collect();
    let host = if host.is_empty() { "relay".to_owned() } else { host };
    format!("{host}-{:04x}", rand::random::<u16>()).parse().expect("only allowed characters, and few")
}
