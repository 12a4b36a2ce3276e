//! Postgres fails over while complaints are being enforced.

use crate::fixture::{
    Provider, against, client_of, client_problem, complaint, http_tunnel, judge, reconnect_in_a_loop, retry,
    standing, status, unix_now, until_enforced, until_open,
};
use adit::Client;
use adit_store::{Complaint, Decision, Phase, StoreError};
use adit_testkit::{
    postgres::Postgres,
    postgres_proxy::{PostgresProxy, ProxyMode},
    soak::{Record, scale, soaking},
    wait::{MAX_WAIT, until, until_ok},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinHandle};

/// The channel of Postgres' notifications of changes.
const CHANGED: &str = "adit";
/// Number of complaints that are decided while Postgres fails over.
const UNDER_WAY: usize = 8;
/// Including the one that is being enforced then.
const COUNT: u64 = UNDER_WAY as u64 + 1;

/// A primary, its synchronous standby, and two proxies that forward to the primary.
struct PostgresPair {
    /// The proxy of all relays but one.
    address: PostgresProxy,
    /// The proxy of that relay.
    apart: PostgresProxy,
    first: Postgres,
    second: Postgres,
}

impl PostgresPair {
    async fn start() -> (Self, String) {
        let (first, url, second) = tokio::task::spawn_blocking(Postgres::pair).await.unwrap();
        let (address, apart) =
            (PostgresProxy::start(first.port()).await, PostgresProxy::start(first.port()).await);
        (Self { address, apart, first, second }, url)
    }

    async fn crash(mut self) -> Self {
        tokio::task::spawn_blocking(|| {
            self.first.crash();
            self
        })
        .await
        .unwrap()
    }

    async fn promote(mut self) -> Self {
        tokio::task::spawn_blocking(|| {
            self.second.promote();
            for way in [&self.address, &self.apart] {
                way.set_upstream(self.second.port());
            }
            self
        })
        .await
        .unwrap()
    }
}

/// Decides one complaint after the other, each as often as needed until the store has acknowledged it.
fn decide(provider: Arc<Provider>, acknowledged: watch::Sender<Vec<Complaint>>) -> JoinHandle<u32> {
    tokio::spawn(async move {
        let mut refused = 0;
        for n in 0..UNDER_WAY {
            let filing =
                complaint(&format!("cpl-{n}"), against(&format!("mallory-{n}")), Decision::Acknowledged);
            let calls = AtomicU32::new(0);
            let judged = retry(async || {
                calls.fetch_add(1, Ordering::Relaxed);
                provider.store.judge(&filing, unix_now()).await
            });
            let judged = judged.await.complaint;
            refused += calls.into_inner() - 1;
            acknowledged.send_modify(|all| all.push(judged));
        }
        refused
    })
}

/// Requests what an innocent account serves of every relay, until `stop` is set. Returns how many requests were served, and
/// other statuses.
fn request_in_a_loop(provider: Arc<Provider>, stop: Arc<AtomicBool>) -> JoinHandle<(u64, Vec<u16>)> {
    tokio::spawn(async move {
        let (host, mut served, mut others) = (provider.us.host("blog"), 0, vec![]);
        while !stop.load(Ordering::Relaxed) {
            for relay in &provider.us.relays {
                match status(relay.http(), &host).await {
                    200 => served += 1,
                    other => others.push(other),
                }
            }
            // Others need the machine, too.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (served, others)
    })
}

async fn start_offenders(provider: &Provider) -> Vec<Client> {
    let mut all = vec![];
    for n in 0..UNDER_WAY {
        let fleet = if n % 2 == 0 { &provider.eu } else { &provider.us };
        all.push(provider.client(fleet, &format!("mallory-{n}"), &format!("mallory-{n}")).await);
    }
    all
}

/// Asserts that no relay serves a name.
async fn assert_not_served(provider: &Provider, name: &str) {
    for (fleet, relay) in [(&provider.eu, 0), (&provider.eu, 1), (&provider.us, 0), (&provider.us, 1)] {
        let status = status(fleet.relays[relay].http(), &fleet.host(name)).await;
        assert!([403, 404].contains(&status), "{name} at {}: {status}", fleet.relays[relay].name);
    }
}

/// The events of a complaint's history.
async fn complaint_history(provider: &Provider, id: &str) -> Vec<String> {
    let history = retry(async || provider.store.complaint_history(id).await).await;
    history.into_iter().map(|entry| entry.what).collect()
}

/// Waits until relays are notified of changes again, instead of reading every few seconds. Returns how many complaints that
/// took.
async fn until_notified_again(provider: &Provider, pair: &PostgresPair) -> u64 {
    let end = Instant::now() + MAX_WAIT;
    for n in 1.. {
        let before = pair.address.passed_notifications(CHANGED) + pair.apart.passed_notifications(CHANGED);
        let filing = complaint(&format!("later-{n}"), against(&format!("later-{n}")), Decision::Acknowledged);
        let acknowledged = judge(&provider.store, &filing).await;
        until_enforced(&provider.store, &acknowledged).await;
        // A relay may have read it before it was told.
        let told = || {
            let now = pair.address.passed_notifications(CHANGED) + pair.apart.passed_notifications(CHANGED);
            now - before >= provider.relays().count()
        };
        let moment = Instant::now() + Duration::from_secs(1);
        while !told() && Instant::now() < moment {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if told() {
            return n;
        }
        assert!(Instant::now() < end, "nobody listens to the new primary");
    }
    unreachable!("it counts without an end")
}

/// Waits until a complaint is enforced by all relays but the one that does not reach the store.
async fn until_one_is_outstanding(provider: &Provider, complaint: &Complaint) {
    let only_one = [("us.localhost".to_owned(), "us-b".to_owned())];
    until_ok("one relay is outstanding", || async {
        let standing = standing(&provider.store, complaint).await;
        if standing.outstanding == only_one { Ok(()) } else { Err(standing) }
    })
    .await;
}

/// Asserts that all relays enforce all complaints, and that each was decided once.
async fn assert_enforced_once(provider: &Provider, all: &[Complaint]) {
    let mut versions: Vec<u64> = all.iter().map(|one| one.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=COUNT).collect::<Vec<_>>(), "each was decided once");
    for one in all {
        assert_eq!(complaint_history(provider, &one.filing.id).await, ["filed", "acknowledged"]);
        assert_eq!(standing(&provider.store, one).await.phase, Phase::Enforced);
    }
    for relay in provider.relays() {
        let known = ["adit_suspensions", "adit_suspensions_version"].map(|name| relay.metric(name));
        assert_eq!(known, [COUNT; 2], "{}", relay.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_postgres_loses_and_repeats_nothing() {
    let record = Record::begin("Postgres fails over while complaints are enforced");
    let (mut words, rounds) = (vec![], scale(1, 7));
    for _ in 0..rounds {
        words.push(fail_over().await);
    }
    record.end(words.join("; "));
}

async fn fail_over() -> String {
    let (pair, url) = PostgresPair::start().await;
    let apart = Some(("us-b", pair.apart.url(&url)));
    let provider = Arc::new(Provider::with_one_apart(pair.address.url(&url), apart).await);
    let folder = tempfile::tempdir().unwrap();
    let eve = client_of(&provider.eu, "eve").state_dir(folder.path());
    let eve = eve.tunnel(http_tunnel(provider.service.address(), "shop")).start().unwrap();
    until_open(&eve).await;
    let mallory = start_offenders(&provider).await;
    let bob = provider.client(&provider.us, "bob", "blog").await;
    provider.us.until_served(&provider.us.host("blog")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let innocent = request_in_a_loop(provider.clone(), stop.clone());

    // One complaint is enforced by all relays but one, which does not reach the store.
    pair.apart.set_mode(ProxyMode::Refuse);
    let begun = judge(&provider.store, &complaint("cpl-eve", against("eve"), Decision::Acknowledged)).await;
    until_one_is_outstanding(&provider, &begun).await;
    assert_eq!(client_problem(&eve).await.code, "suspended");
    let back = reconnect_in_a_loop(provider.clone(), folder.path().to_owned(), "shop", stop.clone());

    // Others are being decided when the first server dies.
    let (sender, mut acknowledged) = watch::channel(vec![]);
    let deciding = decide(provider.clone(), sender);
    acknowledged.wait_for(|all: &Vec<Complaint>| all.len() >= 2).await.unwrap();
    let crashed = Instant::now();
    let pair = pair.crash().await;
    let before = acknowledged.borrow().clone();
    let away = provider.store.relays_seen().await;
    assert!(matches!(away, Err(StoreError::Unreachable(_) | StoreError::Timeout)), "{away:?}");
    for _ in 0..5 {
        assert_not_served(&provider, "shop").await;
    }

    let pair = pair.promote().await;
    pair.apart.set_mode(ProxyMode::Forward);
    until("the new primary is the store", || deciding.is_finished()).await;
    let refused = deciding.await.unwrap();
    for one in &before {
        let kept = retry(async || provider.store.complaint(&one.filing.id).await).await;
        assert_eq!(kept.as_ref(), Some(one), "what was acknowledged is kept as it was");
    }
    let mut all = acknowledged.borrow().clone();
    all.push(begun);
    for one in &all {
        until_enforced(&provider.store, one).await;
    }
    let took = crashed.elapsed();
    // From now on nobody of them is served, however often he comes back.
    for n in 0..UNDER_WAY {
        assert_not_served(&provider, &format!("mallory-{n}")).await;
    }
    for _ in 0..20 {
        assert_not_served(&provider, "shop").await;
    }
    for client in &mallory {
        assert_eq!(client_problem(client).await.code, "suspended");
    }
    assert_enforced_once(&provider, &all).await;
    let told = until_notified_again(&provider, &pair).await;

    stop.store(true, Ordering::Relaxed);
    let (served, others) = innocent.await.unwrap();
    assert!(others.is_empty() && served > 0, "{served} requests of the innocent were served, and {others:?}");
    let runs = back.await.unwrap();
    drop((bob, pair));
    if soaking() {
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
    format!(
        "{} of {COUNT} decided before the crash, {refused} calls refused, all enforced {} ms after it; {runs} returns of \
         an offender, {served} requests of the innocent served; told of complaint {told} after it",
        before.len() + 1,
        took.as_millis(),
    )
}
