//! Two regions with a Redis each and one Postgres, and what the tests ask of them.

use adit::{Client, ClientBuilder, TunnelSpec, service::Service as Address};
use adit_protocol::{Account, Kind};
use adit_store::{Decision, Filing, Phase, Scope, Standing, Store, StoreError, Subject};
use adit_testkit::{
    balancer::Balancer,
    http::{Consumer, Service},
    postgres::Postgres,
    redis::Redis,
    region::{Region, Relay},
    wait::until,
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinHandle;

/// One region; what is dropped first stands first.
pub(crate) struct Place {
    pub(crate) balancer: Balancer,
    pub(crate) relays: Vec<Relay>,
    pub(crate) region: Region,
    _redis: Redis,
}

/// Two regions and the store that they share.
pub(crate) struct Provider {
    pub(crate) eu: Place,
    pub(crate) us: Place,
    pub(crate) store: Store,
    pub(crate) service: Service,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What relays of these tests are told beside their back ends.
const LINES: &str = "limits: {requestsPerSecond: 100000, streams: 10000, names: 100000, tunnels: 1000, sessions: 10000}\n\
     provider: {name: Test, abuse: abuse@example.com}\ndrainTimeout: 5s";

impl Place {
    pub(crate) async fn start(region: Region, redis: Redis, names: &[&str]) -> Self {
        let mut relays: Vec<Relay> = names.iter().map(|name| region.spawn(name)).collect();
        for relay in &mut relays {
            relay.wait_ready();
        }
        let balancer = Balancer::start(&relays.iter().collect::<Vec<_>>());
        let place = Self { balancer, relays, region, _redis: redis };
        let count = names.len() as u64;
        until("every relay knows the others", || {
            place.relays.iter().all(|relay| relay.metric("adit_relays") == count)
        })
        .await;
        place
    }

    pub(crate) fn region(domain: &str, store: &str, redis: &Redis) -> Region {
        Region::of_domain(env!("CARGO_BIN_EXE_adit-relay"), domain)
            .with(LINES)
            .registry(redis.url())
            .store(store)
    }

    /// A client of an account, with a fresh token.
    pub(crate) fn builder(&self, account: &str) -> ClientBuilder {
        let token = self.region.token(&self.relays[0], account, &["--kinds", "http,tcp"]);
        self.without_token().token(token)
    }

    pub(crate) fn without_token(&self) -> ClientBuilder {
        let port = self.balancer.https().port();
        Client::builder().relay(format!("{}:{port}", self.region.domain())).ca(self.region.ca())
    }

    pub(crate) fn host(&self, name: &str) -> String {
        format!("{name}.{}", self.region.domain())
    }

    /// What each relay answers for a host.
    pub(crate) async fn statuses(&self, host: &str) -> Vec<u16> {
        let mut statuses = vec![];
        for relay in &self.relays {
            statuses.push(status(relay.http(), host).await);
        }
        statuses
    }
}

/// Waits until every relay of a place serves a host: a relay without a session of the client hears of it a moment later.
pub(crate) async fn is_served(place: &Place, host: &str) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let statuses = place.statuses(host).await;
        if statuses.iter().all(|status| *status == 200) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{host}: {statuses:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn status(relay: SocketAddr, host: &str) -> u16 {
    Consumer::plain(relay).get(host, "/").await.map_or(0, |answer| answer.status)
}

pub(crate) fn http(service: &Service, name: &str) -> TunnelSpec {
    let mut spec = TunnelSpec::new(Address::parse(Kind::Http, &service.address().to_string()).unwrap());
    spec.name = Some(name.to_owned());
    spec
}

/// Waits until a client's first tunnel is open.
pub(crate) async fn is_up(client: &Client) {
    let tunnel = client.tunnels()[0].clone();
    until("the tunnel has a URL", || client.url(&tunnel).is_some()).await;
}

/// A client that comes back over and over with the credential in `folder`, until it is told to stop: it goes a moment after
/// it has been let in, and at once when it is refused. Gives how often it came.
pub(crate) fn returning(
    provider: Arc<Provider>,
    folder: PathBuf,
    name: &'static str,
    stop: Arc<AtomicBool>,
) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut runs = 0;
        while !stop.load(Ordering::Relaxed) {
            let spec = http(&provider.service, name);
            let client = provider.eu.without_token().state_dir(&folder).tunnel(spec).start().unwrap();
            runs += 1;
            let tunnel = client.tunnels()[0].clone();
            let end = std::time::Instant::now() + Duration::from_secs(5);
            while client.url(&tunnel).is_none() && std::time::Instant::now() < end {
                if tokio::time::timeout(Duration::from_millis(2), client.closed()).await.is_ok() {
                    break;
                }
            }
            let moment = Duration::from_millis(rand::random_range(0..150));
            let _ = tokio::time::timeout(moment, client.closed()).await;
            drop(client);
        }
        runs
    })
}

/// Why a client has ended.
pub(crate) async fn ended(client: &Client) -> adit::Problem {
    let closed = tokio::time::timeout(Duration::from_secs(60), client.closed()).await;
    closed.expect("the client ends").expect_err("it has a reason")
}

pub(crate) fn complaint(id: &str, subject: Subject, decision: Decision) -> Filing {
    Filing {
        id: id.to_owned(),
        name: id.to_owned(),
        source: "test".to_owned(),
        against: subject.text(),
        subject,
        category: "Phishing".to_owned(),
        description: String::new(),
        reporter: String::new(),
        evidence: vec![],
        decision,
        scope: Scope::Account,
        until: None,
        by: "test".to_owned(),
        why: "because".to_owned(),
    }
}

pub(crate) fn against(account: &str) -> Subject {
    Subject::Account(Account::managed(account))
}

/// What the store answers once it does: on a busy machine a call may take longer than it is given. Every call may be repeated.
pub(crate) async fn patient<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(std::time::Instant::now() < end, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Decides about a complaint; how far its version has come is for [`standing`] to say.
pub(crate) async fn judge(store: &Store, filing: &Filing) -> adit_store::Complaint {
    patient(async || store.judge(filing, now()).await).await.complaint
}

/// How far a complaint has come.
pub(crate) async fn standing(store: &Store, complaint: &adit_store::Complaint) -> Standing {
    Standing::of(complaint, &patient(async || store.relays_seen().await).await, now())
}

/// Waits until every relay has confirmed.
pub(crate) async fn is_enforced(store: &Store, complaint: &adit_store::Complaint) {
    let mut confirmations = store.confirmations();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        confirmations.next().await;
        let standing = standing(store, complaint).await;
        if standing.phase == Phase::Enforced {
            return;
        }
        assert!(std::time::Instant::now() < end, "it waits for {:?}", standing.outstanding);
    }
}

impl Provider {
    /// Two relays in each region.
    pub(crate) async fn start() -> Self {
        Self::at(Postgres::shared().database()).await
    }

    pub(crate) async fn at(url: String) -> Self {
        Self::with_one_apart(url, None).await
    }

    /// The same, and one relay reaches the store by a URL of its own.
    pub(crate) async fn with_one_apart(url: String, apart: Option<(&str, String)>) -> Self {
        let store = Store::open(&url.parse().unwrap()).unwrap();
        store.migrate().await.unwrap();
        let (eu, us) = (Redis::start(), Redis::start());
        let region = |domain, redis| {
            let region = Place::region(domain, &url, redis);
            match &apart {
                Some((relay, own)) => region.store_of(relay, own),
                None => region,
            }
        };
        let (of_eu, of_us) = (region("eu.localhost", &eu), region("us.localhost", &us));
        let (eu, us) =
            tokio::join!(Place::start(of_eu, eu, &["a", "b"]), Place::start(of_us, us, &["us-a", "us-b"]));
        Self { eu, us, store, service: Service::start().await }
    }

    /// A client that serves a name in a region.
    pub(crate) async fn client(&self, place: &Place, account: &str, name: &str) -> Client {
        let client = place.builder(account).tunnel(http(&self.service, name)).start().unwrap();
        is_up(&client).await;
        client
    }

    pub(crate) fn relays(&self) -> impl Iterator<Item = &Relay> {
        self.eu.relays.iter().chain(&self.us.relays)
    }
}
