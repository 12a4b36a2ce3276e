//! Rotation of certificates under traffic.

use crate::fixture::{Authorities, served_fingerprint};
use adit::{Client, TunnelSpec, service::Service as Address};
use adit_acme::{KeyAlgorithm, certificate::self_signed};
use adit_protocol::Kind;
use adit_store::{SealedKey, Store, StoredCertificate};
use adit_testkit::{
    http::{Consumer, ConsumerConnection, Service, WebSocket},
    postgres::Postgres,
    redis::Redis,
    region::{DOMAIN, RelayProcess, TestRegion},
    soak::{Record, scale},
    wait::until_async,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

const HOST: &str = "shop.adit.localhost";
/// Number of connections that send one request after another.
const CONNECTIONS: usize = 64;
/// Number of WebSockets that are open all the time.
const SOCKETS: usize = 20;
/// Pause between two requests of one connection.
const BREATH: Duration = Duration::from_millis(5);

/// Connections and WebSockets that are opened once.
struct Traffic {
    wires: Vec<ConsumerConnection>,
    sockets: Vec<WebSocket>,
}

impl Traffic {
    async fn open(consumer: impl Fn(usize) -> Consumer) -> Self {
        let (mut wires, mut sockets) = (Vec::new(), Vec::new());
        for n in 0..CONNECTIONS {
            wires.push(consumer(n % 2).connect().await.unwrap());
        }
        for n in 0..SOCKETS {
            sockets.push(consumer(n % 2).websocket(HOST, "/ws").await.unwrap());
        }
        Self { wires, sockets }
    }

    /// Uses all of them until the load is ended.
    fn run(self) -> Load {
        let mut tasks = JoinSet::new();
        let (end, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        for mut wire in self.wires {
            let (end, done) = (end.clone(), done.clone());
            tasks.spawn(async move {
                let request = format!("GET /echo HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
                while !end.load(Ordering::Relaxed) {
                    let answer = wire.send(request.as_bytes()).await.expect("no connection is cut");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(BREATH).await;
                }
            });
        }
        for mut socket in self.sockets {
            let (end, done) = (end.clone(), done.clone());
            tasks.spawn(async move {
                while !end.load(Ordering::Relaxed) {
                    socket.send(2, vec![7; 100]).await.expect("no WebSocket is closed");
                    assert_eq!(socket.receive().await.expect("an echo").payload, vec![7; 100]);
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(BREATH).await;
                }
            });
        }
        Load { tasks, end, done }
    }
}

/// Traffic under way. [`Load::end`] panics if any of it failed.
struct Load {
    tasks: JoinSet<()>,
    end: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
}

impl Load {
    /// Number of requests and messages that have been answered so far.
    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends the traffic. Returns the number of answered requests and messages.
    async fn end(mut self) -> usize {
        self.end.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("all of it went well");
        }
        self.done()
    }
}

/// Certificates that cannot be served: words of the reason, the certificate, its keys.
fn bad_ones(
    good: &StoredCertificate,
    keys: &[SealedKey],
) -> Vec<(&'static str, StoredCertificate, Vec<SealedKey>)> {
    let names = ["elsewhere.test".to_owned()];
    let other = self_signed(&names, KeyAlgorithm::EcdsaP256, time::OffsetDateTime::now_utc());
    let strange =
        |key: &SealedKey| SealedKey { recipient: key.recipient.clone(), sealed: "AAAA/AAAA.AAAA".to_owned() };
    let with = |fingerprint: &str| StoredCertificate { fingerprint: fingerprint.to_owned(), ..good.clone() };
    vec![
        ("does not match", StoredCertificate { chain: other.unwrap().0, ..with("1") }, keys.to_vec()),
        ("not sealed", with("2"), keys.iter().map(strange).collect()),
        ("is for", StoredCertificate { names: names.to_vec(), ..with("3") }, keys.to_vec()),
        ("the chain is not", StoredCertificate { chain: "nonsense".to_owned(), ..with("4") }, keys.to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_breaks_nothing_off_and_every_relay_serves_it() {
    let record = Record::begin("renewals under traffic");
    let redis = Redis::start();
    let database = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
    let region =
        TestRegion::new(env!("CARGO_BIN_EXE_adit-relay")).registry(redis.url()).store(database.clone());
    let region = region.with("limits: {requestsPerSecond: 100000, burst: 100000, streams: 10000}");
    let mut relays: Vec<RelayProcess> = ["a", "b"].map(|name| region.spawn(name)).into();
    for relay in &mut relays {
        relay.wait_ready();
    }
    let authorities = Authorities::start(80, 443);
    let store = Store::open(&database.parse().unwrap()).unwrap();
    let operator = authorities.issuer(store, &region).await;
    let first = operator.issue().await;
    operator.until_confirmed(2, &first.fingerprint).await;

    // Whoever trusts both CAs does not care which one is served.
    let roots = relays[0].config.with_file_name("roots.pem");
    let both = std::fs::read_to_string(region.ca()).unwrap() + &authorities.pebble.root();
    std::fs::write(&roots, both).unwrap();
    let service = Service::start().await;
    let address = Address::parse(Kind::Http, &service.address().to_string()).unwrap();
    let mut spec = TunnelSpec::new(address);
    spec.name = Some("shop".to_owned());
    let client = Client::builder()
        .relay(format!("{DOMAIN}:{}", relays[0].https().port()))
        .ca(roots.clone())
        .token(region.token(&relays[0], "ci", &[]))
        .tunnel(spec)
        .start()
        .unwrap();
    let tunnel = client.tunnels()[0].clone();
    until_async("the tunnel is open", async || client.url(&tunnel).is_some()).await;

    let consumer = |relay: usize| Consumer::tls(relays[relay].https(), HOST, &roots, &[b"http/1.1"]);
    until_async("both relays know it", async || {
        let mut known = 0;
        for relay in 0..2 {
            known += usize::from(
                consumer(relay).get(HOST, "/echo").await.is_ok_and(|answer| answer.status == 200),
            );
        }
        known == 2
    })
    .await;
    let load = Traffic::open(consumer).await.run();
    let mut before = first.fingerprint;
    let rounds = scale(3, 30);
    for _ in 0..rounds {
        let answered = load.done();
        let issued = operator.issue().await;
        assert_ne!(issued.fingerprint, before);
        operator.until_confirmed(2, &issued.fingerprint).await;
        for relay in &relays {
            assert_eq!(served_fingerprint(relay.https(), HOST), issued.fingerprint);
            assert_eq!(served_fingerprint(relay.https(), &format!("connect.{DOMAIN}")), issued.fingerprint);
        }
        until_async("all connections and WebSockets were used meanwhile", async || {
            load.done() >= answered + CONNECTIONS + SOCKETS
        })
        .await;
        before = issued.fingerprint;
    }
    let done = load.end().await;
    record.end(format!(
        "{rounds} renewals during {done} requests and messages on {CONNECTIONS} connections and {SOCKETS} WebSockets"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_certificate_is_refused_and_the_last_good_one_kept() {
    let database = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
    let region = TestRegion::new(env!("CARGO_BIN_EXE_adit-relay")).store(database.clone());
    let relay = region.start("a");
    let authorities = Authorities::start(80, 443);
    let store = Store::open(&database.parse().unwrap()).unwrap();
    let operator = authorities.issuer(store.clone(), &region).await;
    let good = operator.issue().await;
    operator.until_confirmed(1, &good.fingerprint).await;

    let keys = store.certificate_keys(&good.id).await.unwrap();
    let fence =
        store.take_fence("certificate/wildcard", "somebody", 60, u64::MAX / 4).await.unwrap().unwrap();
    for (words, certificate, keys) in bad_ones(&good, &keys) {
        assert!(store.put_certificate(&certificate, &keys, &fence).await.unwrap());
        until_async(&format!("the relay says: {words}"), async || {
            let seen = store.relays_seen().await.unwrap_or_default();
            let problem = seen.first().and_then(|relay| relay.certificate_problem.clone());
            problem.is_some_and(|problem| problem.contains(words))
        })
        .await;
        assert_eq!(served_fingerprint(relay.https(), HOST), good.fingerprint);
    }
    assert!(store.put_certificate(&good, &keys, &fence).await.unwrap());
    until_async("all is well again", async || {
        let seen = store.relays_seen().await.unwrap_or_default();
        seen.iter()
            .all(|relay| relay.certificate_problem.is_none() && relay.served == [good.fingerprint.clone()])
    })
    .await;
    // Taken away, the files' certificate stands in again.
    assert!(store.remove_certificate(&good.id).await.unwrap());
    until_async("the stand-in is served", async || {
        let now = served_fingerprint(relay.https(), HOST);
        !now.is_empty() && now != good.fingerprint
    })
    .await;
}
