//! The life of a relay: open, bind, serve, drain, end.

mod admin;
mod certificates;
mod data_dir;
mod enforcement;
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
    auth::{IssuerKeysError, KeysError},
    certificates::{development::DevelopmentError, issuer, pem::CertificateError},
    cluster::{peer, registry::RegistryError},
    config::Config,
    lanes::Lanes,
    ops::{
        LifecyclePhase, access_log, admin as admin_api,
        metrics::{Count, Gauge},
    },
    public::listen::BindError,
};
pub use data_dir::DataDirError;
use data_dir::DataDirLock;
use listeners::{bind, serve_all};
use open::open;
use relay::Relay;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Why a relay does not start, or ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The keys of tokens, credentials and tickets.
    #[error("cannot open the keys")]
    Keys(#[from] KeysError),
    /// The tokens' issuers.
    #[error("cannot use access.tokens")]
    Tokens(#[from] IssuerKeysError),
    /// The store.
    #[error("cannot open the store")]
    OpenStore(#[from] adit_store::OpenError),
    /// Its schema.
    #[error("cannot bring the store's schema up to date")]
    Migrate(#[from] adit_store::MigrateError),
    /// The registry.
    #[error("cannot open the registry")]
    Registry(#[from] RegistryError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate from files.
    #[error("cannot serve the certificate")]
    Certificate(#[from] CertificateError),
    /// The development CA.
    #[error("cannot use the development CA")]
    Development(#[from] DevelopmentError),
    /// The peer certificate.
    #[error("cannot link to peers")]
    Peer(#[from] peer::tls::PeerTlsError),
    /// TLS.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
    /// The access log.
    #[error("cannot open the access log")]
    AccessLog(#[from] access_log::AccessLogError),
    /// The admin socket.
    #[error("cannot open the admin socket")]
    Admin(#[from] admin_api::BindError),
    /// A thread or runtime.
    #[error("cannot start the runtimes")]
    Lanes(#[source] io::Error),
    /// The service loop gave up.
    #[error(transparent)]
    Unhealthy(#[from] service::Unhealthy),
}

impl ServeError {
    /// A stable word for what failed, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DataDir(DataDirError::InUse { .. }) => "data_dir_in_use",
            Self::DataDir(_) => "data_dir",
            Self::Keys(_) => "keys",
            Self::Tokens(_) => "tokens",
            Self::OpenStore(_) | Self::Migrate(_) => "store",
            Self::Registry(_) => "registry",
            Self::Bind(_) => "bind",
            Self::Certificate(_) | Self::Development(_) | Self::Tls(_) => "certificate",
            Self::Peer(_) => "peer",
            Self::AccessLog(_) => "access_log",
            Self::Admin(_) => "admin",
            Self::Lanes(_) => "lanes",
            Self::Unhealthy(_) => "unhealthy",
        }
    }
}

impl ServeError {
    /// The next step of whoever starts the relay: a command where there is one.
    pub fn next(&self) -> String {
        match self {
            Self::DataDir(error) => error.next(),
            Self::Keys(_) => {
                "correct or remove the file that is named, then start the relay again".to_owned()
            }
            Self::Tokens(_) => {
                "put the issuer's public keys (JWKS or PEM) into the file that is named".to_owned()
            }
            Self::OpenStore(_) | Self::Migrate(_) => {
                "check store: in relay.yaml, and that its file or database can be written".to_owned()
            }
            Self::Registry(_) => "check registry: in relay.yaml".to_owned(),
            Self::Bind(error) => error.next(),
            Self::Certificate(_) => "check tls.certificates: in relay.yaml".to_owned(),
            Self::Development(_) => "make dataDir a folder that the relay's user can write".to_owned(),
            Self::Peer(_) => "check peer: in relay.yaml".to_owned(),
            Self::AccessLog(_) => {
                "give accessLog.path a file that the relay's user can write, or -".to_owned()
            }
            Self::Admin(_) => "stop the other relay, or give listen.admin another path".to_owned(),
            Self::Tls(_) | Self::Lanes(_) => {
                "raise the limits of processes and open files (ulimit -a shows them)".to_owned()
            }
            Self::Unhealthy(_) => "start the relay again; if it happens again, give it more CPU".to_owned(),
        }
    }
}

/// Addresses that a relay listens on, for its first lines and for tests.
#[derive(Clone, Debug)]
pub struct Bound {
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// HTTP.
    pub http: Vec<SocketAddr>,
    /// TCP ports of tunnels.
    pub tcp: Vec<SocketAddr>,
    /// Links of peers.
    pub peer: Option<SocketAddr>,
    /// `/livez`, `/readyz`, `/metrics`.
    pub ops: Option<SocketAddr>,
}

/// What a relay serves certificates from, for its first lines.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// Files.
    Files(usize),
    /// The development CA, whose certificate is in this file.
    Development(std::path::PathBuf),
}

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
