//! What there is before a relay serves: back ends, keys, metrics.

use super::{error::ServeError, listeners::Bound, relay::Relay, revision::Status};
use crate::{
    accounts::{Accounts, buffers::RelayBuffers},
    auth::{CredentialLifetimes, Keys, LiveConfig, ProofSealer},
    certificates::{
        CertificateParts, Certificates, TlsConfigs, challenges::Challenges, served::ServedCertificates,
    },
    cluster::{
        peer::{Peers, tls::PeerTls},
        registry::Registry,
    },
    config::{self, Config, RegistryUrl},
    lanes::{Lane, Lanes},
    ops::{
        access_log::AccessLog,
        lifecycle::Lifecycle,
        metrics::{MetricKind, Metrics},
        telemetry::Telemetry,
    },
    proxy::{Proxy, consumer::connection_limit::ConnectionLimit},
    public::Frontend,
    routing::{RelayIdentity, Routing},
    session::{Admission, Sessions},
    suspensions::SuspensionSet,
};
use adit_protocol::{
    RelayId,
    hello::{Facts, Provider},
};
use adit_store::{MigrateError, Store, StoreError};
use arc_swap::ArcSwap;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Opens the back ends and puts the relay together.
pub(super) async fn open(
    config: Config,
    bound: &Bound,
    lanes: &Lanes,
    resolver: Arc<Certificates>,
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
    metrics.watch(
        "adit_relays",
        "Healthy relays of the region, this one included",
        MetricKind::Gauge,
        move || table.relays().len() as u64,
    );
    let suspensions = Arc::new(SuspensionSet::new(&config.domain, &config.provider.abuse));
    suspensions.show_in(&metrics);
    let tls = TlsConfigs::new(resolver.clone(), &config.domain)?;
    let certificates =
        CertificateParts { tls, resolver, challenges: Arc::default(), served: served(&metrics) };
    let access_log = AccessLog::open(&config.access_log)?;
    access_log.show_in(&metrics);
    let connection_limit = Arc::new(ConnectionLimit::open_files(config.connections));
    connection_limit.show_in(&metrics);
    let lanes = lanes.all().to_vec();
    let telemetry = Arc::new(Telemetry::new(metrics, access_log, lanes.len()));
    let first = |addresses: &[SocketAddr], otherwise| addresses.first().map_or(otherwise, SocketAddr::port);
    let identity = RelayIdentity {
        relay: id,
        domain: config.domain.clone(),
        tcp_ports: config.tcp_ports,
        public_port: if config.public_port == 0 { first(&bound.https, 443) } else { config.public_port },
    };
    let peers = peers(&config, &identity.relay, &registry, &telemetry, lanes.len())?;
    let shared = Shared {
        live: Arc::new(ArcSwap::from_pointee(LiveConfig::new(&config, &keys)?)),
        accounts: Arc::default(),
        routing: Arc::new(Routing::new(identity, registry, peers, telemetry.clone())),
        suspensions,
        telemetry,
        lifecycle: Arc::default(),
    };
    let frontend = Frontend {
        proxy: Arc::new(proxy(&shared, &config, certificates.challenges.clone(), lanes.len())),
        sessions: Arc::new(sessions(&shared, &config, &keys, store.clone(), lanes, &certificates.tls)),
        tls: certificates.tls.consumers.clone(),
        connection_limit,
        trusted_proxies: config.trusted_proxies.clone(),
        plain_port: first(&bound.http, 80),
    };
    let Shared { live, accounts, routing, suspensions, telemetry, lifecycle } = shared;
    Ok(Relay {
        status: Status::new(&config),
        config,
        keys,
        store,
        live,
        accounts,
        routing,
        suspensions,
        telemetry,
        lifecycle,
        certificates,
        frontend: Arc::new(frontend),
    })
}

/// The links to peers: none yet.
fn peers(
    config: &Config,
    id: &RelayId,
    registry: &Registry,
    telemetry: &Telemetry,
    lanes: usize,
) -> Result<Peers, ServeError> {
    let tls = config.peer.as_ref().map(|peer| PeerTls::read(peer, &config.domain)).transpose()?;
    let metrics = telemetry.lane_metrics().next_back().expect("there is one beside those of the lanes");
    Ok(Peers::new(tls, registry.table().clone(), id.clone(), lanes, metrics.clone()))
}

/// What proxy and sessions share.
struct Shared {
    live: Arc<ArcSwap<LiveConfig>>,
    accounts: Arc<Accounts>,
    routing: Arc<Routing>,
    suspensions: Arc<SuspensionSet>,
    telemetry: Arc<Telemetry>,
    lifecycle: Arc<Lifecycle>,
}

/// What requests share.
fn proxy(shared: &Shared, config: &Config, challenges: Arc<Challenges>, lanes: usize) -> Proxy {
    Proxy {
        routing: shared.routing.clone(),
        suspensions: shared.suspensions.clone(),
        accounts: shared.accounts.clone(),
        live: shared.live.clone(),
        buffers: RelayBuffers::new(lanes),
        challenges,
        telemetry: shared.telemetry.clone(),
        lifecycle: shared.lifecycle.clone(),
        plain_http: config.plain_http,
        abuse: config.provider.abuse.clone(),
    }
}

/// What sessions share.
fn sessions(
    shared: &Shared,
    config: &Config,
    keys: &Keys,
    store: Store,
    lanes: Vec<Lane>,
    tls: &TlsConfigs,
) -> Sessions {
    let admission = Admission {
        live: shared.live.clone(),
        accounts: shared.accounts.clone(),
        seal: ProofSealer::new(&keys.region),
        rules: CredentialLifetimes::default(),
        token_facts: token_facts(config),
        provider: Provider { name: config.provider.name.clone(), abuse: config.provider.abuse.clone() },
    };
    Sessions {
        admission,
        routing: shared.routing.clone(),
        suspensions: shared.suspensions.clone(),
        telemetry: shared.telemetry.clone(),
        lifecycle: shared.lifecycle.clone(),
        store,
        lanes,
        tls: tls.clients.clone(),
        drain_timeout: config.drain_timeout,
    }
}

/// The facts of a refused proof: `tokenCommand`, which makes a token of this region on the relay's machine, or `issuers`,
/// which the region trusts. A region with other relays has neither: only its operator knows where its tokens are made.
fn token_facts(config: &Config) -> Facts {
    let fact = match (&config.access.tokens, &config.registry) {
        (config::Tokens::Issuers(issuers), _) => {
            let names: Vec<&str> = issuers.iter().map(|issuer| issuer.issuer.as_str()).collect();
            Some(("issuers", names.join(", ")))
        }
        (config::Tokens::Managed {}, RegistryUrl::Memory) => {
            Some(("tokenCommand", "adit-relay token --account NAME > token".to_owned()))
        }
        (config::Tokens::Managed {}, RegistryUrl::Redis(_)) => None,
    };
    fact.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
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
