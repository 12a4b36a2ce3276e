//! The life of a relay: open, bind, serve, drain, end.

mod data_dir;
mod listeners;
mod open;
pub mod relay;
pub mod relay_status;
pub mod reload;
mod running;
pub mod service;

use crate::{
    accounts::buffers::{self, BufferMeasurement},
    auth::{IssuerKeysError, KeysError},
    certificates::{
        Certificates,
        development::{DevelopmentCa, DevelopmentError},
        issuer,
        pem::{Certificate, CertificateError},
        served,
    },
    cluster::{peer, registry::RegistryError},
    config::Config,
    lanes::Lanes,
    ops::{
        LifecyclePhase, access_log, admin,
        metrics::{Count, Gauge},
    },
    public::listen::BindError,
    server::relay::Relay,
    suspensions,
};
pub use data_dir::DataDirError;
use data_dir::DataDirLock;
use listeners::{bind, serve_all};
use open::open;
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
    Admin(#[from] admin::BindError),
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
    /// The relay.
    pub relay: Arc<Relay>,
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

/// Opens the back ends, binds, and serves. Once this returns the relay answers.
///
/// # Errors
/// [`ServeError`]; nothing is left open then.
pub async fn start(config: Config) -> Result<Running, ServeError> {
    let data_dir = DataDirLock::take(&config.data_dir)?;
    let lanes = Lanes::start(config.lanes.unwrap_or_else(cores)).map_err(ServeError::Lanes)?;
    let (listeners, bound) = bind(&config, lanes.all().len())?;
    let (certificates, source, development) = certificates(&config)?;
    let relay = Arc::new(open(config, &bound, &lanes, certificates.clone()).await?);
    served::serve_cached(&relay, &certificates);
    served::read_once(&relay, &certificates).await;
    tokio::spawn(served::watch(relay.clone(), certificates.clone()));
    if let Some(acme) = relay.config.acme.clone() {
        let own = (bound.http.first().copied(), bound.https.first().copied());
        tokio::spawn(issuer::run(relay.clone(), acme, own));
    }
    tokio::spawn(reload::watch(relay.clone(), certificates.clone()));
    if let Some(ca) = development {
        tokio::spawn(renew_development(relay.clone(), ca, certificates));
    }
    let beat = spawn_services(&relay).await;
    let stop = CancellationToken::new();
    serve_all(&relay, listeners, &lanes, &stop)?;
    relay.health.enter(LifecyclePhase::Ready);
    Ok(Running { relay, bound, certificates: source, lanes, data_dir, stop, beat })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

type Certified = (Arc<Certificates>, CertificateSource, Option<DevelopmentCa>);

fn certificates(config: &Config) -> Result<Certified, ServeError> {
    let certificates = Arc::new(Certificates::default());
    if config.certificates.is_empty() {
        let ca = DevelopmentCa::load_or_create(&config.data_dir)?;
        certificates.replace(vec![ca.issue(&config.domain, time::OffsetDateTime::now_utc())?]);
        let source = CertificateSource::Development(ca.path().to_owned());
        return Ok((certificates, source, Some(ca)));
    }
    let read = read_certificates(config)?;
    let source = CertificateSource::Files(read.len());
    certificates.replace(read);
    Ok((certificates, source, None))
}

/// The certificates from files.
///
/// # Errors
/// [`CertificateError`].
pub fn read_certificates(config: &Config) -> Result<Vec<Certificate>, CertificateError> {
    config.certificates.iter().map(|files| Certificate::read(&files.cert, &files.key)).collect()
}

/// A development certificate is issued anew every day: it never comes near its end.
async fn renew_development(relay: Arc<Relay>, ca: DevelopmentCa, certificates: Arc<Certificates>) {
    loop {
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        match ca.issue(&relay.config.domain, time::OffsetDateTime::now_utc()) {
            Ok(certificate) => certificates.replace(vec![certificate]),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no new development certificate");
            }
        }
    }
}

/// How long a relay waits for the region's table before it is ready.
const SYNCED: Duration = Duration::from_secs(2);

async fn spawn_services(relay: &Arc<Relay>) -> tokio::task::JoinHandle<Result<(), service::Unhealthy>> {
    suspensions::begin(relay).await;
    // With an empty table the relay would say of its peers' endpoints that nothing is published there. When the registry is
    // away it starts all the same.
    let _ = tokio::time::timeout(SYNCED, relay.registry.synced()).await;
    service::beat_once(relay).await;
    suspensions::ask_peers_at_start(relay).await;
    tokio::spawn(service::watch_owners(relay.clone()));
    tokio::spawn(service::extend_leases(relay.clone()));
    tokio::spawn(suspensions::watch(relay.clone()));
    tokio::spawn(relay_status::watch(relay.clone()));
    tokio::spawn(service::prune_store(relay.clone()));
    for (lane, telemetry) in relay.lanes.iter().zip(&relay.lane_telemetry) {
        let metrics = telemetry.metrics.clone();
        let mut before = 0;
        buffers::spawn(lane, telemetry.buffers.clone(), move |BufferMeasurement { unread, cut }| {
            (0..cut).for_each(|_| metrics.count(Count::StreamsShed));
            let unread = i64::try_from(unread).unwrap_or(i64::MAX);
            metrics.shift(Gauge::BufferedBytes, unread - before);
            before = unread;
        });
    }
    tokio::spawn(service::beat(relay.clone()))
}
