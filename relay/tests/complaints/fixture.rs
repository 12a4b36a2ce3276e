//! Two regions with a Redis each and one Postgres, and complaints about their accounts.

pub(crate) use crate::clients::{client_without_token, http_tunnel, until_open};
use adit::{Client, ClientBuilder};
use adit_protocol::Account;
use adit_store::{Decision, EnforcementProgress, Filing, Phase, Scope, Store, StoreError, Subject};
use adit_testkit::{
    fleet::RelayFleet,
    http::{Consumer, Service},
    postgres::Postgres,
    region::{RelayProcess, TestRegion},
    wait::{MAX_WAIT, until_done, until_ok},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinHandle;

/// Two regions and the store that they share.
pub(crate) struct Provider {
    pub(crate) eu: RelayFleet,
    pub(crate) us: RelayFleet,
    pub(crate) store: Store,
    pub(crate) service: Service,
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The configuration of relays in these tests, beside their back ends.
const YAML: &str = "limits: {requestsPerSecond: 100000, streams: 10000, names: 100000, tunnels: 1000, sessions: 10000}\n\
     provider: {name: Test, abuse: abuse@example.com}\ndrainTimeout: 5s";

/// A region of this domain whose relays use this store.
pub(crate) fn region(domain: &str, store: &str) -> TestRegion {
    TestRegion::of_domain(env!("CARGO_BIN_EXE_adit-relay"), domain).with(YAML).store(store)
}

/// Describes a client of an account, with a fresh token for HTTP and TCP tunnels.
pub(crate) fn client_of(fleet: &RelayFleet, account: &str) -> ClientBuilder {
    crate::clients::client_of(fleet, account, &["--kinds", "http,tcp"])
}

/// The status with which a relay answers for a host; 0 without an answer.
pub(crate) async fn status(relay: SocketAddr, host: &str) -> u16 {
    Consumer::plain(relay).get(host, "/").await.map_or(0, |answer| answer.status)
}

/// Starts a client with the credential in `folder` over and over until `stop` is set. Each one goes a moment after it has
/// been let in, and at once when it is refused. The task returns how many there were.
pub(crate) fn reconnect_in_a_loop(
    provider: Arc<Provider>,
    folder: PathBuf,
    name: &'static str,
    stop: Arc<AtomicBool>,
) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut runs = 0;
        while !stop.load(Ordering::Relaxed) {
            let spec = http_tunnel(provider.service.address(), name);
            let client = client_without_token(&provider.eu).state_dir(&folder).tunnel(spec).start().unwrap();
            runs += 1;
            let tunnel = client.tunnels()[0].clone();
            let end = Instant::now() + Duration::from_secs(5);
            while client.url(&tunnel).is_none() && Instant::now() < end {
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

/// Waits for a client's end; returns the reason.
pub(crate) async fn client_problem(client: &Client) -> adit::Problem {
    until_done("the client ends", client.closed()).await.expect_err("it has a reason")
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

/// Repeats a call of the store until it succeeds: on a busy machine one call may exceed its time limit.
pub(crate) async fn retry<T, F: Future<Output = Result<T, StoreError>>>(call: impl FnMut() -> F) -> T {
    until_ok("the store answers", call).await
}

/// Decides a complaint; [`standing`] tells how far it is enforced.
pub(crate) async fn judge(store: &Store, filing: &Filing) -> adit_store::Complaint {
    retry(async || store.judge(filing, unix_now()).await).await.complaint
}

/// How far a complaint is enforced.
pub(crate) async fn standing(store: &Store, complaint: &adit_store::Complaint) -> EnforcementProgress {
    EnforcementProgress::of(complaint, &retry(async || store.relays_seen().await).await, unix_now())
}

/// Waits until every relay has confirmed.
pub(crate) async fn until_enforced(store: &Store, complaint: &adit_store::Complaint) {
    let mut confirmations = store.confirmations();
    let end = Instant::now() + MAX_WAIT;
    loop {
        confirmations.next().await;
        let standing = standing(store, complaint).await;
        if standing.phase == Phase::Enforced {
            return;
        }
        assert!(Instant::now() < end, "unconfirmed by {:?}", standing.outstanding);
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

    /// As [`Provider::at`]; one relay reaches the store by a URL of its own.
    pub(crate) async fn with_one_apart(url: String, apart: Option<(&str, String)>) -> Self {
        let store = Store::open(&url.parse().unwrap()).unwrap();
        store.migrate().await.unwrap();
        let region = |domain| {
            let region = region(domain, &url);
            match &apart {
                Some((relay, own)) => region.store_of(relay, own),
                None => region,
            }
        };
        let eu = RelayFleet::start(region("eu.localhost"), &["a", "b"]);
        let us = RelayFleet::start(region("us.localhost"), &["us-a", "us-b"]);
        let (eu, us) = tokio::join!(eu, us);
        Self { eu, us, store, service: Service::start().await }
    }

    /// Starts a client that serves a name in a region, and waits until its tunnel is open.
    pub(crate) async fn client(&self, fleet: &RelayFleet, account: &str, name: &str) -> Client {
        let tunnel = http_tunnel(self.service.address(), name);
        let client = client_of(fleet, account).tunnel(tunnel).start().unwrap();
        until_open(&client).await;
        client
    }

    pub(crate) fn relays(&self) -> impl Iterator<Item = &RelayProcess> {
        self.eu.relays.iter().chain(&self.us.relays)
    }
}
