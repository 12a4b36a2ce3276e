//! The life of a relay: open, bind, serve, drain, end.

use crate::{
    access::{CredentialRules, Keys, KeysError, Seal, TokensError},
    access_log::{self, AccessLog, RequestIds},
    admin::{self, Admin},
    buffers::{self, Measured},
    config::{Config, RegistryUrl},
    enforce::{self, Enforced},
    lanes::Lanes,
    limits::Accounts,
    local::Local,
    metrics::{Count, Gauge, Kind, Metrics},
    ops::{self, Phase},
    peer::{self, Peers, tls::PeerTls},
    public::{
        self,
        listen::{BindError, Listener},
        room::Room,
    },
    registry::{Registry, RegistryError},
    relay::{Relay, Seat},
    reload::{self, Live, Revision},
    report, service,
    tls::{
        Certificates, TlsConfigs,
        challenges::Challenges,
        development::{DevelopmentCa, DevelopmentError},
        issuer,
        pem::{Certificate, PemError},
        stored::{self, Served},
    },
};
use adit_protocol::RelayId;
use adit_store::{MigrateError, Store, StoreError};
use arc_swap::ArcSwap;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Why a relay does not start, or ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The keys of tokens, credentials and tickets.
    #[error("cannot open the keys")]
    Keys(#[from] KeysError),
    /// The tokens' issuers.
    #[error("cannot use access.tokens")]
    Tokens(#[from] TokensError),
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
    Certificate(#[from] PemError),
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
    AccessLog(#[from] access_log::OpenError),
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
    /// Cancelled when ops and admin end.
    stop: CancellationToken,
    beat: tokio::task::JoinHandle<Result<(), service::Unhealthy>>,
}

struct Listeners {
    https: Vec<Listener>,
    http: Vec<Listener>,
    tcp: Vec<Listener>,
    peer: Option<Listener>,
    ops: Option<tokio::net::TcpListener>,
}

/// Opens the back ends, binds, and serves. Once this returns the relay answers.
///
/// # Errors
/// [`ServeError`]; nothing is left open then.
pub async fn start(config: Config) -> Result<Running, ServeError> {
    let lanes = Lanes::start(config.lanes.unwrap_or_else(cores)).map_err(ServeError::Lanes)?;
    let (listeners, bound) = bind(&config, lanes.all().len())?;
    let (certificates, source, development) = certificates(&config)?;
    let relay = Arc::new(open(config, &bound, &lanes, certificates.clone()).await?);
    stored::serve_last(&relay, &certificates);
    stored::read_once(&relay, &certificates).await;
    tokio::spawn(stored::watch(relay.clone(), certificates.clone()));
    if let Some(acme) = relay.config.acme.clone() {
        let own = bound.http.first().copied();
        tokio::spawn(issuer::run(relay.clone(), acme, own));
    }
    tokio::spawn(reload::watch(relay.clone(), certificates.clone()));
    if let Some(ca) = development {
        tokio::spawn(renew_development(relay.clone(), ca, certificates));
    }
    let beat = spawn_services(&relay).await;
    let stop = CancellationToken::new();
    serve_all(&relay, listeners, &lanes, &stop)?;
    relay.health.enter(Phase::Ready);
    Ok(Running { relay, bound, certificates: source, lanes, stop, beat })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn bind(config: &Config, lanes: usize) -> Result<(Listeners, Bound), ServeError> {
    let each = |addresses: &[SocketAddr]| {
        addresses.iter().map(|address| Listener::bind(*address, lanes)).collect::<Result<Vec<_>, _>>()
    };
    let https = each(&config.listen.https)?;
    let http = each(config.listen.http.as_deref().unwrap_or_default())?;
    // Tunnels' ports are open where HTTPS is.
    let ports = config.tcp_ports.map_or(vec![], |range| (range.first..=range.last).collect());
    let tcp_addresses: Vec<_> = config
        .listen
        .https
        .iter()
        .flat_map(|https| ports.iter().map(|port| SocketAddr::new(https.ip(), *port)))
        .collect();
    let tcp = each(&tcp_addresses)?;
    let peer = config.listen.peer.map(|address| Listener::bind(address, lanes)).transpose()?;
    let ops = config.listen.ops.map(bind_one).transpose()?;
    let addresses = |listeners: &[Listener]| listeners.iter().map(|one| one.address).collect();
    let bound = Bound {
        https: addresses(&https),
        http: addresses(&http),
        tcp: addresses(&tcp),
        peer: peer.as_ref().map(|one| one.address),
        ops: ops.as_ref().and_then(|one| one.local_addr().ok()),
    };
    Ok((Listeners { https, http, tcp, peer, ops }, bound))
}

fn bind_one(address: SocketAddr) -> Result<tokio::net::TcpListener, BindError> {
    let failed = |source| BindError { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::TcpListener::from_std(listener).map_err(failed)
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
/// [`PemError`].
pub fn read_certificates(config: &Config) -> Result<Vec<Certificate>, PemError> {
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

async fn open(
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
    metrics.watch("adit_relays", "Healthy relays of the region, this one included", Kind::Gauge, move || {
        table.relays().len() as u64
    });
    let suspensions = Arc::new(Enforced::default());
    suspensions.show_in(&metrics);
    let served = served(&metrics);
    let access_log = AccessLog::open(&config.access_log)?;
    access_log.show_in(&metrics);
    let number = rand::random();
    let seat = |index| Seat {
        metrics: metrics.lane(),
        log: access_log.lane(),
        ids: RequestIds::new(number, u16::try_from(index).unwrap_or(u16::MAX)),
        buffers: Arc::default(),
    };
    let live = ArcSwap::from_pointee(Live::new(&config, &keys)?);
    let revision = Mutex::new(Revision::of(&config));
    let seats: Vec<Seat> = (0..=lanes.all().len()).map(seat).collect();
    let others = seats.last().expect("there is one beside those of the lanes").metrics.clone();
    let room = Arc::new(Room::open_files(config.connections));
    room.show_in(&metrics);
    let peer_tls = config.peer.as_ref().map(|peer| PeerTls::read(peer, &config.domain)).transpose()?;
    let peers = Peers::new(peer_tls, registry.table().clone(), id.clone(), lanes.all().len(), others);
    let first = |addresses: &[SocketAddr], otherwise| addresses.first().map_or(otherwise, SocketAddr::port);
    let public_port = if config.public_port == 0 { first(&bound.https, 443) } else { config.public_port };
    Ok(Relay {
        live,
        revision,
        news: tokio::sync::Notify::new(),
        seal: Seal::new(&keys.region),
        keys,
        accounts: Accounts::default(),
        access_log,
        seats,
        room,
        registry_up: std::sync::atomic::AtomicBool::new(true),
        plain_port: first(&bound.http, 80),
        public_port,
        lanes: lanes.all().to_vec(),
        local: Local::default(),
        tls: TlsConfigs::new(certificates)?,
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
        rules: CredentialRules::default(),
        id,
        config,
        registry,
        store,
        peers,
    })
}

/// Brings the tables up to date. A Postgres that is away does not keep the relay from starting: what needs the store is
/// refused meanwhile, and the tables are there since the relays before.
async fn migrate(store: &Store) -> Result<(), MigrateError> {
    match store.migrate().await {
        Err(MigrateError::Unavailable(error @ (StoreError::Unreachable(_) | StoreError::Timeout)))
            if matches!(store, Store::Postgres(_)) =>
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
fn served(metrics: &Metrics) -> Arc<Served> {
    let served: Arc<Served> = Arc::default();
    let ends = served.clone();
    metrics.watch(
        "adit_certificate_not_after_seconds",
        "When the first of the store's certificates ends, in seconds since 1970; 0 without one",
        Kind::Gauge,
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

/// How long a relay waits for the region's table before it is ready.
const SYNCED: Duration = Duration::from_secs(2);

async fn spawn_services(relay: &Arc<Relay>) -> tokio::task::JoinHandle<Result<(), service::Unhealthy>> {
    enforce::begin(relay).await;
    // With an empty table the relay would say of its peers' endpoints that nothing is published there. When the registry is
    // away it starts all the same.
    let _ = tokio::time::timeout(SYNCED, relay.registry.synced()).await;
    service::beat_once(relay).await;
    enforce::ask_peers_at_start(relay).await;
    tokio::spawn(service::watch_owners(relay.clone()));
    tokio::spawn(service::extend_leases(relay.clone()));
    tokio::spawn(enforce::watch(relay.clone()));
    tokio::spawn(report::watch(relay.clone()));
    tokio::spawn(service::prune_store(relay.clone()));
    for (lane, seat) in relay.lanes.iter().zip(&relay.seats) {
        let metrics = seat.metrics.clone();
        let mut before = 0;
        buffers::spawn(lane, seat.buffers.clone(), move |Measured { unread, cut }| {
            (0..cut).for_each(|_| metrics.count(Count::StreamsShed));
            let unread = i64::try_from(unread).unwrap_or(i64::MAX);
            metrics.shift(Gauge::BufferedBytes, unread - before);
            before = unread;
        });
    }
    tokio::spawn(service::beat(relay.clone()))
}

fn serve_all(
    relay: &Arc<Relay>,
    listeners: Listeners,
    lanes: &Lanes,
    stop: &CancellationToken,
) -> Result<(), ServeError> {
    let closed = &relay.closed;
    for listener in listeners.https {
        let relay = relay.clone();
        let serve = move |tcp, remote| public::tls::serve(relay.clone(), tcp, remote);
        listener.serve(lanes.all(), closed, Arc::new(serve));
    }
    for listener in listeners.http {
        let relay = relay.clone();
        let serve = move |tcp, remote| public::http::serve(relay.clone(), tcp, remote);
        listener.serve(lanes.all(), closed, Arc::new(serve));
    }
    for listener in listeners.tcp {
        let (relay, port) = (relay.clone(), listener.address.port());
        let serve = move |tcp, remote| public::tcp::serve(relay.clone(), tcp, remote, port);
        listener.serve(lanes.all(), closed, Arc::new(serve));
    }
    if let Some(listener) = listeners.peer {
        let relay = relay.clone();
        let serve = move |tcp, remote| peer::listen::serve(relay.clone(), tcp, remote);
        listener.serve(lanes.all(), &CancellationToken::new(), Arc::new(serve));
    }
    if let Some(listener) = listeners.ops {
        tokio::spawn(ops::serve(listener, relay.health.clone(), relay.metrics.clone(), stop.clone()));
    }
    if let Some(path) = &relay.config.listen.admin {
        let socket = admin::AdminSocket::bind(path)?;
        tokio::spawn(admin::serve(socket, Arc::new(administration(relay)), stop.clone()));
    }
    Ok(())
}

/// What the admin API sees and does.
fn administration(relay: &Arc<Relay>) -> Admin {
    let (sessions, tunnels, close, drain) = (relay.clone(), relay.clone(), relay.clone(), relay.clone());
    Admin {
        sessions: Box::new(move || sessions.session_views()),
        tunnels: Box::new(move || tunnels.tunnel_views()),
        close_session: Box::new(move |id| close.close_session(id)),
        store: relay.store.clone(),
        drain: Box::new(move || drain.draining_asked.notify_one()),
    }
}

/// For how long a draining relay still takes connections: load balancers need this to notice that it is unready.
const UNREADY: Duration = Duration::from_secs(3);

impl Running {
    /// Serves until `stop`, then drains and ends; a second `stop` cuts what is left.
    ///
    /// # Errors
    /// [`ServeError::Unhealthy`] when the relay has to be started anew.
    pub async fn until(mut self, mut stop: impl AsyncFnMut()) -> Result<(), ServeError> {
        let asked = self.relay.clone();
        tokio::select! {
            () = stop() => {}
            () = asked.draining_asked.notified() => {}
            ended = &mut self.beat => return Ok(ended.unwrap_or(Ok(()))?),
        }
        tokio::select! { () = self.drain() => {}, () = stop() => {} }
        self.end().await;
        Ok(())
    }

    /// Unready; the clients move; new connections end; what is under way may finish.
    async fn drain(&self) {
        let relay = &self.relay;
        tracing::info!(sessions = relay.local.session_count(), "draining");
        relay.health.enter(Phase::Draining);
        relay.draining.cancel();
        relay.news.notify_one();
        service::beat_once(relay).await;
        let deadline = tokio::time::Instant::now() + relay.config.drain_timeout;
        // A relay that is alone has no load balancer that would send its consumers elsewhere.
        let notice =
            if matches!(relay.config.registry, RegistryUrl::Memory) { Duration::ZERO } else { UNREADY };
        let unready = deadline.min(tokio::time::Instant::now() + notice);
        let over = |now| now >= deadline || (now >= unready && self.is_idle());
        loop {
            let now = tokio::time::Instant::now();
            if now >= unready {
                self.relay.closed.cancel();
            }
            if over(now) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_idle(&self) -> bool {
        self.relay.local.session_count() == 0 && self.relay.open_streams() == 0
    }

    async fn end(self) {
        let relay = self.relay;
        relay.closed.cancel();
        relay.closing.cancel();
        let (domain, id) = (&relay.config.domain, &relay.id);
        let ((), _) = tokio::join!(relay.registry.leave(), relay.store.relay_gone(domain, id));
        let patience = tokio::time::Instant::now() + Duration::from_secs(2);
        while relay.local.session_count() > 0 && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.stop.cancel();
        relay.access_log.close(Duration::from_secs(1));
        drop(self.lanes);
    }
}
