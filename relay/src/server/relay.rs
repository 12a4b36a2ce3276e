//! What all parts of one relay share.

mod views;

use crate::{
    accounts::{AccountUsage, Accounts, buffers::LaneBuffers},
    auth::{Credential, CredentialLifetimes, Keys, ProofSealer, TokenGrant},
    certificates::{TlsConfigs, challenges::Challenges, served::ServedCertificates},
    cluster::{peer::Peers, registry::Registry, table::Row},
    config::{self, Config, RegistryUrl},
    lanes::Lane,
    ops::{
        Component, Health,
        access_log::{AccessLog, LaneLog, RequestIds},
        metrics::{Gauge, LaneMetrics, Metrics},
    },
    public::connection_limit::ConnectionLimit,
    routing::{
        local::{Command, Local, ServedEndpoint, Session},
        route::Route,
    },
    server::reload::{LiveConfig, Revision},
    session::{
        open::{Identity, Opened},
        run::close,
    },
    suspensions::SuspensionSet,
};
use adit_protocol::{
    Code, Endpoint, Refused, RelayId,
    frame::FrameError,
    hello::{Facts, Provider},
};
use adit_store::{Store, UseTokenError};
use arc_swap::ArcSwap;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio_util::sync::CancellationToken;

/// For how long an endpoint that was served here is remembered as offline rather than unknown: its lease.
const REMEMBERED: Duration = Duration::from_secs(adit_store::LEASE_SECONDS);
/// The most endpoints that are remembered so.
const MOST_REMEMBERED: usize = 100_000;
/// The longest that a session may take from its claim to its first stream; its welcome may take as long.
const BEGINNING: Duration = Duration::from_secs(5);
/// When a store that is away is worth another try, in milliseconds.
const RETRY_MS: u64 = 2000;

const POISONED: &str = "no code panics while it holds this lock";

/// Seconds since 1970 (UTC).
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What one lane counts and logs, so that no lane waits for another.
#[derive(Debug)]
pub struct LaneTelemetry {
    /// Its counters.
    pub metrics: Arc<LaneMetrics>,
    /// Its access log.
    pub log: Arc<LaneLog>,
    /// Its request ids.
    pub ids: RequestIds,
    /// Its streams with slow readers.
    pub buffers: Arc<LaneBuffers>,
}

/// One relay.
pub struct Relay {
    /// Its name in the region.
    pub id: RelayId,
    /// What it was told.
    pub config: Config,
    /// The port in consumers' URLs in clear.
    pub plain_port: u16,
    /// The port in consumers' URLs by TLS.
    pub public_port: u16,
    /// What each lane counts and logs; the last is for all other threads.
    pub lane_telemetry: Vec<LaneTelemetry>,
    /// How many connections of consumers there is room for.
    pub connection_limit: Arc<ConnectionLimit>,
    /// Whether the registry could be reached at the last beat.
    pub registry_up: AtomicBool,
    /// Its runtimes.
    pub lanes: Vec<Lane>,
    /// Who serves an endpoint in the region.
    pub registry: Registry,
    /// What is durable.
    pub store: Store,
    /// What accounts use here.
    pub accounts: Accounts,
    /// What can change while it runs.
    pub live: ArcSwap<LiveConfig>,
    /// The keys that all relays of the region share.
    pub keys: Keys,
    /// Which configuration it uses, for who asks.
    pub revision: Mutex<Revision>,
    /// Notified when there is news for the store.
    pub news: tokio::sync::Notify,
    /// How long credentials live.
    pub rules: CredentialLifetimes,
    /// Makes and opens credentials and tickets.
    pub seal: ProofSealer,
    /// Its sessions.
    pub local: Local,
    /// Its links to peers.
    pub peers: Peers,
    /// Its TLS configurations.
    pub tls: TlsConfigs,
    /// What it answers CAs.
    pub challenges: Challenges,
    /// What it serves of the store's certificates.
    pub served: Arc<ServedCertificates>,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// Its access log.
    pub access_log: AccessLog,
    /// What the ops port says of it.
    pub health: Arc<Health>,
    /// Notified when the admin API asks the relay to drain.
    pub draining_asked: tokio::sync::Notify,
    /// Cancelled when the relay begins to drain.
    pub draining: CancellationToken,
    /// Cancelled when no further connections are taken, and idle ones end.
    pub closed: CancellationToken,
    /// Cancelled when what is left is cut.
    pub closing: CancellationToken,
    /// Suspended accounts and hostnames.
    pub suspensions: Arc<SuspensionSet>,
    /// Endpoints that were served here not long ago.
    pub remembered: Mutex<HashMap<Endpoint, Instant>>,
}

impl Relay {
    /// Whether a connection from this address begins with a PROXY protocol header.
    pub fn trusts_proxy(&self, remote: SocketAddr) -> bool {
        let ip = remote.ip().to_canonical();
        self.config.trusted_proxies.iter().any(|network| network.contains(&ip))
    }

    /// A refusal of a hello.
    pub fn refused(&self, code: Code, message: String) -> Refused {
        self.telemetry().metrics.refused(code);
        Refused {
            code,
            message,
            time: now(),
            least_version: None,
            retry_after_ms: None,
            provider: self.provider(),
            suspension: None,
            facts: self.token_facts(code),
        }
    }

    /// The facts of a refused proof: `tokenCommand`, which makes a token of this region on the relay's machine, or `issuers`,
    /// which the region trusts. A region with other relays has neither: only its operator knows where its tokens are made.
    fn token_facts(&self, code: Code) -> Facts {
        let fact = match (&self.config.access.tokens, &self.config.registry) {
            _ if !code.is_about_proof() => None,
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

    /// The refusal of what is no hello at all.
    pub fn bad_hello(&self, error: &FrameError) -> Refused {
        let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
        self.refused(Code::BadHello, format!("{error}{cause}"))
    }

    /// What the calling lane counts and logs.
    pub fn telemetry(&self) -> &LaneTelemetry {
        &self.lane_telemetry[crate::lanes::current().unwrap_or(self.lane_telemetry.len() - 1)]
    }

    /// How many consumers' requests and connections are under way.
    pub fn open_streams(&self) -> i64 {
        self.lane_telemetry.iter().map(|telemetry| telemetry.metrics.value(Gauge::Streams)).sum()
    }

    /// Whether the registry could be reached at the last beat.
    pub fn registry_is_up(&self) -> bool {
        self.registry_up.load(Ordering::Relaxed)
    }

    /// Notes whether the registry could be reached.
    pub fn set_registry_up(&self, up: bool) {
        if self.registry_up.swap(up, Ordering::Relaxed) != up {
            tracing::warn!(up, "the registry's state has changed");
        }
        self.health.report(Component::Registry, (!up).then(|| "cannot be reached".to_owned()));
    }

    /// Who runs this relay, for messages.
    pub fn provider(&self) -> Provider {
        let provider = &self.config.provider;
        Provider { name: provider.name.clone(), abuse: provider.abuse.clone() }
    }

    /// How many relays of the region are healthy, this one included. One that drains counts: in a rolling restart it will be
    /// back in a moment.
    pub fn healthy_relays(&self) -> u32 {
        let others = self.registry.table().relays();
        let others = others.iter().filter(|record| record.relay != self.id).count();
        u32::try_from(others + 1).unwrap_or(u32::MAX)
    }

    /// The lane for a new session: one where the same tunnels have no session yet, and there the one with the fewest.
    pub fn lane_for(&self, identity: &Identity, opened: &[Opened]) -> usize {
        let mut siblings = vec![0; self.lanes.len()];
        let served = opened.iter().filter_map(|one| self.local.endpoint(&one.claim.endpoint));
        for session in served.flat_map(|served| served.sessions.clone()) {
            if session.instance == identity.instance {
                siblings[session.lane] += 1;
            }
        }
        let here = crate::lanes::current();
        let all = self.local.lane_sessions(self.lanes.len());
        (0..self.lanes.len())
            .min_by_key(|lane| (siblings[*lane], all[*lane], Some(*lane) != here))
            .expect("a relay has at least one lane")
    }

    /// A client gives an endpoint up: its lease ends now.
    pub async fn give_up(&self, served: &ServedEndpoint) {
        let released = self.store.release(&self.config.domain, &served.lease(), now()).await;
        if let Err(error) = released {
            tracing::debug!(endpoint = %served.endpoint, error = &error as &dyn std::error::Error, "its lease will end by itself");
        }
    }

    /// Consumers of this endpoint are told that it is offline, for as long as its lease.
    pub fn remember(&self, endpoint: &Endpoint) {
        let mut remembered = self.remembered.lock().expect(POISONED);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, since| since.elapsed() < REMEMBERED);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(endpoint.clone(), Instant::now());
        }
    }

    /// Whether an endpoint was served here not long ago.
    pub fn remembers(&self, endpoint: &Endpoint) -> bool {
        let remembered = self.remembered.lock().expect(POISONED);
        remembered.get(endpoint).is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    /// Whether an endpoint can be one of this region.
    pub fn is_ours(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Host(host) => {
                host.strip_suffix(&self.config.domain).is_some_and(|name| name.ends_with('.'))
            }
            Endpoint::Tcp(port) => {
                self.config.tcp_ports.is_some_and(|range| (range.first..=range.last).contains(port))
            }
        }
    }

    /// The region's row of an endpoint.
    pub fn row(&self, endpoint: &Endpoint) -> Option<Arc<Row>> {
        match endpoint {
            Endpoint::Host(host) => self.registry.table().get(host),
            Endpoint::Tcp(port) => self.registry.table().get_tcp(*port),
        }
    }

    /// Who serves an endpoint here, if the region knows that a session of this relay does. A session is claimed before
    /// it can take streams: a request that comes in between waits for it.
    pub async fn claimed_here(&self, endpoint: &Endpoint) -> Option<Arc<ServedEndpoint>> {
        let row = self.row(endpoint)?;
        if !row.sessions.iter().any(|session| session.relay == self.id) {
            return None;
        }
        tokio::time::timeout(BEGINNING, self.local.soon(endpoint)).await.ok()
    }

    /// Where consumers reach an endpoint.
    pub fn url(&self, endpoint: &Endpoint) -> String {
        match endpoint {
            Endpoint::Host(host) if self.public_port == 443 => format!("https://{host}"),
            Endpoint::Host(host) => format!("https://{host}:{}", self.public_port),
            Endpoint::Tcp(port) => format!("tcp://{}:{port}", self.config.domain),
        }
    }

    /// What the account behind a route uses here.
    pub fn usage(&self, route: &Route) -> Arc<AccountUsage> {
        match route {
            Route::Here(served) => served.usage.clone(),
            Route::There(row) => self.accounts.visit(&row.account, &self.live.load().limits),
        }
    }

    /// A session has lost an endpoint to a newer client of the account, and with it its purpose.
    pub fn replaced(&self, session: &Arc<Session>, endpoint: &Endpoint) {
        tracing::info!(session = %session.id, %endpoint, "replaced by a newer client");
        let message = format!("a newer client of the account has taken {endpoint} over");
        session.command(Command::Close(close(Code::Replaced, message)));
    }

    /// A credential for a good token. A managed token buys one credential, for one key.
    ///
    /// # Errors
    /// When it has been used, or when the store that knows cannot be reached.
    pub async fn exchange(&self, grant: TokenGrant, key: [u8; 32], now: u64) -> Result<Credential, Refused> {
        if let Some(id) = grant.token_id.as_deref().filter(|_| grant.managed) {
            let key = text_of_key(&key);
            match self.store.use_token(&grant.account, id, &key, grant.expires, now).await {
                Ok(()) => {}
                Err(UseTokenError::Used) => {
                    return Err(
                        self.refused(Code::TokenUsed, "proof.token: has been used by another client".into())
                    );
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot check a token");
                    let message = "the store cannot be reached, and a new token needs it".into();
                    let refused = self.refused(Code::StoreUnavailable, message);
                    return Err(Refused { retry_after_ms: Some(RETRY_MS), ..refused });
                }
            }
        }
        Ok(self.rules.credential(grant, key, now))
    }
}

fn text_of_key(key: &[u8; 32]) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(key)
}
