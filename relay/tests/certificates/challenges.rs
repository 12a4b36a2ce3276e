//! Answers to CAs' challenges; requests for other tokens go on to the tunnel.

use crate::fixture::Authorities;
use adit::{Client, TunnelSpec, service::Service as Address};
use adit_acme::{Proof, Request};
use adit_protocol::Kind;
use adit_store::{ChallengeKind, Store, StoredChallenge};
use adit_testkit::{
    http::{Consumer, RecordingService},
    postgres::Postgres,
    redis::Redis,
    region::{DOMAIN, RelayProcess, TestRegion},
    wait::until_async,
};
use std::{net::SocketAddr, process::Command};

const HOST: &str = "shop.adit.localhost";
const ANSWER: &str = "token.thumbprint";

fn challenge(kind: ChallengeKind, name: &str, token: &str) -> StoredChallenge {
    let (name, token, answer) = (name.to_owned(), token.to_owned(), ANSWER.to_owned());
    StoredChallenge { kind, name, token, answer, expires: u64::MAX / 4 }
}

/// Validates as a CA does by tls-alpn-01. Returns the certificate as text, and whether the handshake succeeded.
async fn looked_at(address: SocketAddr, name: &str) -> (String, bool) {
    let script = "openssl s_client -connect \"$0\" -servername \"$1\" -alpn acme-tls/1 </dev/null 2>&1 \
                  | tee /dev/stderr | openssl x509 -noout -text 2>/dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, &address.to_string(), name]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr).contains("ALPN protocol: acme-tls/1"))
}

struct ChallengeFixture {
    _redis: Redis,
    store: Store,
    region: TestRegion,
    relays: [RelayProcess; 2],
}

impl ChallengeFixture {
    async fn new() -> Self {
        let redis = Redis::start();
        let database = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
        let region =
            TestRegion::new(env!("CARGO_BIN_EXE_adit-relay")).registry(redis.url()).store(database.clone());
        let mut relays = ["a", "b"].map(|name| region.spawn(name));
        relays.iter_mut().for_each(RelayProcess::wait_ready);
        Self { _redis: redis, store: Store::open(&database.parse().unwrap()).unwrap(), region, relays }
    }

    /// Waits until both relays have confirmed this version of the challenges.
    async fn until_confirmed(&self, version: u64) {
        until_async("both relays confirm", async || {
            let seen = self.store.relays_seen().await.unwrap_or_default();
            seen.len() == 2 && seen.iter().all(|relay| relay.challenges_version >= version)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_relay_answers_known_challenges_and_forwards_the_rest() {
    let fixture = ChallengeFixture::new().await;
    let (a, b) = (&fixture.relays[0], &fixture.relays[1]);
    let service = RecordingService::start().await;
    let mut spec = TunnelSpec::new(Address::parse(Kind::Http, &service.address().to_string()).unwrap());
    spec.name = Some("shop".to_owned());
    let client = Client::builder()
        .relay(format!("{DOMAIN}:{}", a.https().port()))
        .ca(fixture.region.ca())
        .token(fixture.region.token(a, "ci", &[]))
        .tunnel(spec)
        .start()
        .unwrap();
    let tunnel = client.tunnels()[0].clone();
    until_async("the tunnel is open", async || client.url(&tunnel).is_some()).await;
    for relay in [a, b] {
        let path = "/.well-known/acme-challenge/of-the-service";
        until_async("an unknown token arrives at the service", async || {
            Consumer::plain(relay.http()).get(HOST, path).await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }
    assert!(!looked_at(a.https(), HOST).await.1, "no CA is expected: the handshake is refused");

    let now = time::OffsetDateTime::now_utc().unix_timestamp().unsigned_abs();
    let known =
        [challenge(ChallengeKind::Http01, HOST, "known"), challenge(ChallengeKind::TlsAlpn01, HOST, "")];
    let version = fixture.store.put_challenges("c", &known, now).await.unwrap();
    fixture.until_confirmed(version).await;
    service.requests();
    for relay in [a, b] {
        let consumer = Consumer::plain(relay.http());
        let answer = consumer.get(HOST, "/.well-known/acme-challenge/known").await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, ANSWER));
        let (text, is_done) = looked_at(relay.https(), HOST).await;
        assert!(is_done && text.contains("1.3.6.1.5.5.7.1.31: critical"), "{text}");
        assert!(text.contains(HOST), "{text}");
        assert!(!looked_at(relay.https(), "other.adit.localhost").await.1, "another name is refused");
        let elsewhere = consumer.get("other.adit.localhost", "/.well-known/acme-challenge/known").await;
        assert_eq!(elsewhere.unwrap().status, 404, "the token is another name's");
    }
    assert_eq!(service.requests(), Vec::<String>::new(), "the service has seen nothing of it");
    for relay in [a, b] {
        let path = "/.well-known/acme-challenge/of-the-service";
        assert_eq!(Consumer::plain(relay.http()).get(HOST, path).await.unwrap().status, 200);
    }
    assert_eq!(service.requests().len(), 2, "and what else there is goes on to it");

    let version = fixture.store.put_challenges("c", &[], now).await.unwrap();
    fixture.until_confirmed(version).await;
    assert_ne!(
        Consumer::plain(b.http()).get(HOST, "/.well-known/acme-challenge/known").await.unwrap().text(),
        ANSWER
    );
}

/// Issues by a proof that the CA validates at one relay; the other one has to be ready for it as well.
async fn is_issued(proof: Proof) {
    let fixture = ChallengeFixture::new().await;
    let authorities = Authorities::start(fixture.relays[0].http().port(), fixture.relays[0].https().port());
    let mut operator = authorities.issuer(fixture.store.clone(), &fixture.region).await;
    let names = vec![HOST.to_owned(), "connect.adit.localhost".to_owned()];
    operator.request = Request { names, proof, newer_than: None, ..operator.request };
    let issued = operator.issue().await;
    operator.until_confirmed(2, &issued.fingerprint).await;
    let versions =
        fixture.store.relays_seen().await.unwrap().into_iter().map(|relay| relay.challenges_version);
    assert!(versions.into_iter().all(|version| version > 0), "both were told");
    assert_eq!(authorities.pebble.log().matches("Added order").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_s_relays_prove_names_by_http_01() {
    is_issued(Proof::Http01).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_s_relays_prove_names_by_tls_alpn_01() {
    is_issued(Proof::TlsAlpn01).await;
}
