//! Faults of the CA, the name server and the issuer, and how they are reported.

use crate::fixture::AcmeFixture;
use adit_acme::{Ca, CertificateState, Dns01, Issuer, Proof, Request, dns::TsigKey};
use adit_store::StoredOrder;
use adit_testkit::soak::{Record, scale};
use std::time::{Duration, Instant};

async fn order(fixture: &AcmeFixture, request: &Request) -> StoredOrder {
    fixture.store.acme_order(&request.id).await.unwrap().expect("the failure is kept")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_refuses_half_of_all_nonces_issues_all_the_same() {
    let fixture = AcmeFixture::with(|behaviour| behaviour.bad_nonces = 50).await;
    let count = scale(5, 100);
    let record = Record::begin("half of all nonces refused");
    for n in 0..count {
        let name = format!("n{n}.example.test");
        let progress = fixture.advance(&fixture.request(&[&name])).await;
        assert_eq!(progress.state, CertificateState::Issued, "{n}: {:?}", progress.order);
    }
    record.end(format!("{count} certificates of {count}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_forgot_account_and_order_still_issues() {
    let mut fixture = AcmeFixture::new().await;
    let first = fixture.request(&["first.example.test"]);
    assert_eq!(fixture.advance(&first).await.state, CertificateState::Issued);
    fixture.pebble.restart();
    let second = fixture.request(&["second.example.test"]);
    let progress = fixture.advance(&second).await;
    assert_eq!(progress.state, CertificateState::Issued, "{:?}", progress.order);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_restarted_in_the_middle_of_an_order_still_issues() {
    let record = Record::begin("a CA that starts anew in the middle of an order");
    let count = scale(3, 30);
    let mut slowest = Duration::ZERO;
    for step in (0..count).step_by(3) {
        let begins = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for step in step..(step + 3).min(count) {
            tasks.spawn(is_issued_by_a_ca_that_starts_anew(Duration::from_millis(20 * step as u64)));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
            slowest = slowest.max(begins.elapsed());
        }
    }
    record.end(format!("{count} certificates of {count}, the slowest after {:.1} s", slowest.as_secs_f64()));
}

/// Issues while the CA restarts, and forgets everything, this long after the order has begun.
async fn is_issued_by_a_ca_that_starts_anew(pause: Duration) {
    let mut fixture = AcmeFixture::new().await;
    let (issuer, request) = (fixture.issuer("one"), fixture.request(&["shop.example.test"]));
    let advancing = tokio::spawn(async move { issuer.advance(&request).await.unwrap() });
    tokio::time::sleep(pause).await;
    let fixture = tokio::task::spawn_blocking(move || {
        fixture.pebble.restart();
        fixture
    });
    let fixture = fixture.await.unwrap();
    let progress = advancing.await.unwrap();
    // Where the two met decides whether this attempt could still succeed; the one after does, and is made soon.
    if progress.state == CertificateState::Issued {
        return;
    }
    let request = fixture.request(&["shop.example.test"]);
    let failed = order(&fixture, &request).await;
    assert_eq!(failed.failures, 1, "{failed:?}");
    assert!(failed.next_attempt <= adit_now() + 10, "{failed:?}");
    fixture.until_issued(&request).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_issue_at_once_make_one_order() {
    let fixture = AcmeFixture::new().await;
    let request = fixture.request(&["shop.example.test"]);
    let mut tasks = Vec::new();
    for n in 0..4 {
        let issuer = fixture.another(&format!("holder-{n}")).await;
        let request = request.clone();
        tasks.push(tokio::spawn(async move { issuer.advance(&request).await.unwrap().state }));
    }
    let mut states = Vec::new();
    for task in tasks {
        states.push(task.await.unwrap());
    }
    assert_eq!(states.iter().filter(|state| **state == CertificateState::Issued).count(), 1, "{states:?}");
    assert_eq!(
        fixture.pebble.log().matches("Issued certificate serial").count(),
        1,
        "{}",
        fixture.pebble.log()
    );
    assert_eq!(fixture.pebble.log().matches("Added order").count(), 1, "{}", fixture.pebble.log());
}

/// Kills an issuer by dropping its future: no later step is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_issuer_has_a_successor_that_continues_the_order() {
    let fixture = AcmeFixture::new().await;
    for step in 0..scale(8, 60) {
        let name = format!("k{step}.example.test");
        let request = fixture.request(&[&name]);
        let issuer = fixture.issuer("killed");
        let pause = Duration::from_millis(15 * step as u64);
        let killed = tokio::time::timeout(pause, issuer.advance(&request)).await;
        // A killed process does not come back under its name; its fence ends by itself, which a test need not wait for.
        let progress = match killed {
            Ok(progress) => progress.unwrap(),
            Err(_) => fixture.issuer("killed").advance(&request).await.unwrap(),
        };
        assert_eq!(progress.state, CertificateState::Issued, "{step}: {:?}", progress.order);
        let orders = fixture.pebble.log().lines().filter(|line| line.contains("Added order")).count();
        assert!(orders <= 2 * (step + 1), "{orders} orders after {step}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_s_own_words_are_kept_and_the_pauses_grow() {
    let fixture = AcmeFixture::new().await;
    let request = fixture.request(&["shop.blocked.test"]);
    let before = adit_now();
    assert_eq!(fixture.advance(&request).await.state, CertificateState::Failed { reason: "NameRejected" });
    let failed = order(&fixture, &request).await;
    let problem = failed.problem.clone().unwrap();
    assert!(problem.contains("blocked"), "{problem}");
    assert_eq!(failed.failures, 1);
    assert!((before + 60..=adit_now() + 60).contains(&failed.next_attempt), "{before}: {failed:?}");
    let waiting = fixture.advance(&request).await;
    assert!(matches!(waiting.state, CertificateState::Waiting { validations: false, .. }), "{waiting:?}");
    assert_eq!(order(&fixture, &request).await, failed, "while it waits nothing is tried");
}

fn adit_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_name_server_is_named_and_the_ca_is_not_asked() {
    let fixture = AcmeFixture::new().await;
    let with_key = |name: &str, key: &str| {
        let key = TsigKey::new("adit", key).unwrap();
        let proof = Proof::Dns01(Dns01::Rfc2136 { server: fixture.bind.address(), key });
        Request { proof, ..fixture.request(&[name]) }
    };
    for (request, words) in [
        (with_key("wrong.example.test", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "NOTAUTH"),
        (with_key("shop.elsewhere.test", fixture.bind.key()), "serves no zone with"),
        (with_key("shop.broken.test", fixture.bind.key()), "serves no zone with"),
    ] {
        let progress = fixture.advance(&request).await;
        assert_eq!(progress.state, CertificateState::Failed { reason: "DNSUpdateFailed" }, "{progress:?}");
        let problem = order(&fixture, &request).await.problem.unwrap();
        assert!(problem.contains(words), "{problem}");
    }
    let failed = fixture.store.failed_validations(&fixture.pebble.directory(), "wrong.example.test", 0).await;
    assert_eq!(failed.unwrap(), Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_at_the_own_address_is_found_before_the_ca_looks() {
    let fixture = AcmeFixture::new().await;
    // The CA itself: it speaks neither plain HTTP nor acme-tls/1 here.
    let own = Some(fixture.pebble.address());
    let issuer = Issuer { own_http: own, own_tls: own, ..fixture.issuer("one") };
    for proof in [Proof::Http01, Proof::TlsAlpn01] {
        let request = Request { id: format!("{proof:?}"), proof, ..fixture.request(&["shop.example.test"]) };
        let progress = issuer.advance(&request).await.unwrap();
        assert_eq!(
            progress.state,
            CertificateState::Failed { reason: "SelfCheckFailed" },
            "{:?}",
            progress.order
        );
        assert!(
            order(&fixture, &request).await.problem.unwrap().contains(&fixture.pebble.address().to_string())
        );
    }
    assert!(!fixture.pebble.log().contains("/chalZ/"), "{}", fixture.pebble.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_is_away_or_is_somebody_else_is_named() {
    let fixture = AcmeFixture::new().await;
    let good = fixture.request(&["shop.example.test"]);
    let ca = |change: &dyn Fn(&mut Ca)| {
        let mut ca = good.ca.clone();
        change(&mut ca);
        ca
    };
    let other = adit_testkit::pebble::Pebble::start(adit_testkit::pebble::PebbleOptions::with_resolver(
        fixture.bind.address(),
    ));
    for (n, (ca, reason)) in [
        (ca(&|ca| ca.bundle = Some("nothing".to_owned())), "BadCABundle"),
        (ca(&|ca| ca.directory = ca.directory.replace("/dir", "/nothing")), "CAUnreachable"),
        (ca(&|ca| ca.profile = Some("nonsense".to_owned())), "RefusedByCA"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = Request { id: format!("c{n}"), ca, ..good.clone() };
        let progress = fixture.advance(&request).await;
        assert_eq!(progress.state, CertificateState::Failed { reason }, "{:?}", progress.order);
    }
    drop(other);
}
