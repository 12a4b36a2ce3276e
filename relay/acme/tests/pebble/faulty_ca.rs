//! A CA that fails: its own words are kept, and its Retry-After is obeyed.

use crate::fixture::AcmeFixture;
use adit_acme::{Ca, CertificateState, Proof, Request, certificate};
use adit_store::StoredOrder;
use adit_testkit::faulty_ca::{Fault, FaultyCa};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

struct FaultyCaFixture {
    fixture: AcmeFixture,
    ca: FaultyCa,
}

impl FaultyCaFixture {
    async fn new() -> Self {
        let fixture = AcmeFixture::new().await;
        let ca = FaultyCa::start(&fixture.pebble).await;
        Self { fixture, ca }
    }

    fn request(&self, name: &str) -> Request {
        let request = self.fixture.request(&[name]);
        Request { ca: Ca { directory: self.ca.directory(), ..request.ca.clone() }, ..request }
    }

    /// Makes one attempt, which fails for `reason` and is retried `pause` seconds later. Returns the stored order.
    async fn fails(&self, request: &Request, reason: &'static str, pause: u64) -> StoredOrder {
        let before = now();
        let progress = self.fixture.advance(request).await;
        assert_eq!(progress.state, CertificateState::Failed { reason }, "{:?}", progress.order);
        let order = self.fixture.store.acme_order(&request.id).await.unwrap().unwrap();
        // However slow the machine is: the attempt ended somewhere between the two looks at the clock.
        assert!(
            (before + pause..=now() + pause).contains(&order.next_attempt),
            "{before}, {pause}: {order:?}"
        );
        order
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_told_in_the_ca_s_words_and_its_retry_after_obeyed() {
    let faulty = FaultyCaFixture::new().await;
    let limit = Fault::problem(429, "rateLimited", "too many certificates already issued for example.test");
    for (n, path) in ["/order-plz", "/finalize-order"].into_iter().enumerate() {
        faulty.ca.inject(path, 1, limit.clone().retry_after("7200"));
        let request = faulty.request(&format!("l{n}.example.test"));
        let problem = faulty.fails(&request, "RateLimited", 7_200).await.problem.unwrap();
        assert!(problem.contains("too many certificates already issued for example.test"), "{problem}");
        let asked = faulty.ca.request_count("/");
        let waits = faulty.fixture.advance(&request).await;
        assert!(matches!(waits.state, CertificateState::Waiting { .. }), "{waits:?}");
        assert_eq!(faulty.ca.request_count("/"), asked, "it is left alone meanwhile");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_can_be_a_date() {
    let faulty = FaultyCaFixture::new().await;
    let until = now() + 7_200;
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(until));
    faulty.ca.inject("/order-plz", 1, Fault::problem(429, "rateLimited", "too many").retry_after(date));
    let request = faulty.request("shop.example.test");
    let progress = faulty.fixture.advance(&request).await;
    assert_eq!(progress.state, CertificateState::Failed { reason: "RateLimited" }, "{:?}", progress.order);
    let order = faulty.fixture.store.acme_order(&request.id).await.unwrap().unwrap();
    // It is a date again only once the attempt has ended, and seconds in between.
    assert!((until..=now() + 7_200).contains(&order.next_attempt), "{until}: {order:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_in_trouble_is_tried_again_soon() {
    let faulty = FaultyCaFixture::new().await;
    let mut requests = Vec::new();
    for (n, (path, trouble, words)) in [
        ("/dir", Fault::text(503, "overloaded"), "answered 503: overloaded"),
        ("/order-plz", Fault::text(502, "<html>no</html>"), "answered 502: <html>no</html>"),
        ("/order-plz", Fault::problem(500, "serverInternal", "our database is away"), "our database is away"),
        ("/finalize-order", Fault::text(504, "too slow"), "answered 504: too slow"),
    ]
    .into_iter()
    .enumerate()
    {
        faulty.ca.inject(path, 1, trouble);
        let request = faulty.request(&format!("t{n}.example.test"));
        let order = faulty.fails(&request, "CAUnreachable", 10).await;
        assert!(order.problem.as_ref().unwrap().contains(words), "{order:?}");
        requests.push(request);
    }
    for request in requests {
        let issued = faulty.fixture.until_issued(&request).await;
        assert_eq!(issued.order.and_then(|order| order.problem), None, "what failed is over");
    }
    let orders = faulty.fixture.pebble.log().matches("Added order").count();
    assert_eq!(orders, 4, "an order that was begun is gone on with: {}", faulty.fixture.pebble.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_503_can_say_when_to_come_back() {
    let faulty = FaultyCaFixture::new().await;
    faulty.ca.inject("/order-plz", 1, Fault::text(503, "maintenance").retry_after("1800"));
    faulty.fails(&faulty.request("shop.example.test"), "CAUnreachable", 1_800).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_cuts_connections_is_asked_again_within_the_attempt() {
    let faulty = FaultyCaFixture::new().await;
    faulty.ca.inject("/order-plz", 2, Fault::Disconnect);
    faulty.ca.inject("/finalize-order", 2, Fault::Disconnect);
    let progress = faulty.fixture.advance(&faulty.request("shop.example.test")).await;
    assert_eq!(progress.state, CertificateState::Issued, "{:?}", progress.order);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_hangs_is_given_up_on_and_tried_again() {
    let faulty = FaultyCaFixture::new().await;
    faulty.ca.inject("/order-plz", 1, Fault::Hang);
    let request = faulty.request("shop.example.test");
    let order = faulty.fails(&request, "CAUnreachable", 10).await;
    assert!(order.problem.as_ref().unwrap().contains("localhost did not answer in 15 s"), "{order:?}");
    faulty.fixture.until_issued(&request).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caa_record_that_forbids_is_a_refusal_in_the_ca_s_words() {
    let faulty = FaultyCaFixture::new().await;
    let words = "CAA record for shop.example.test prevents issuance";
    for path in ["/order-plz", "/finalize-order"] {
        faulty.ca.inject(path, 1, Fault::problem(403, "caa", words));
        let request = Request { id: path.to_owned(), ..faulty.request("shop.example.test") };
        let order = faulty.fails(&request, "CAAForbids", 60).await;
        assert!(order.problem.as_ref().unwrap().contains(words), "{order:?}");
    }
}

/// The name server of Pebble fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_fails_is_told_as_the_ca_has_seen_it() {
    let faulty = FaultyCaFixture::new().await;
    let request = Request { proof: Proof::Http01, ..faulty.request("shop.broken.test") };
    let problem = faulty.fails(&request, "ValidationFailed", 60).await.problem.unwrap();
    assert!(problem.contains("could not resolve URL \"http://shop.broken.test"), "{problem}");
    let directory = faulty.ca.directory();
    let failed = faulty.fixture.store.failed_validations(&directory, "shop.broken.test", 0).await.unwrap();
    assert_eq!(failed.len(), 1, "it counts for the limit of an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_names_its_predecessor_unless_the_ca_refuses_that() {
    let faulty = FaultyCaFixture::new().await;
    let request = faulty.request("shop.example.test");
    let first = faulty.fixture.until_issued(&request).await.stored.unwrap();
    let forced = Request { newer_than: Some(u64::MAX), ..request };
    assert_eq!(faulty.fixture.advance(&forced).await.state, CertificateState::Issued);
    let orders = faulty.ca.payloads("/order-plz");
    assert_eq!(orders[0]["replaces"], serde_json::Value::Null, "{orders:?}");
    // Key and serial number of the one before (RFC 9773 section 4.1).
    let serial = certificate::facts(&first.chain).unwrap().serial.replace(':', "");
    let said = orders[1]["replaces"].as_str().unwrap().rsplit('.').next().unwrap();
    let said: String =
        BASE64_URL_SAFE_NO_PAD.decode(said).unwrap().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(said.trim_start_matches('0'), serial.to_ascii_lowercase().trim_start_matches('0'));
    // A CA that has had enough of that, or does not find that order yet, gets one like any other.
    for (status, kind) in [(409, "alreadyReplaced"), (500, "serverInternal")] {
        faulty.ca.inject(
            "/order-plz",
            1,
            Fault::problem(status, kind, "no such order, or another one already"),
        );
        let renewed = faulty.fixture.advance(&forced).await;
        assert_eq!(renewed.state, CertificateState::Issued, "{kind}: {:?}", renewed.order);
        assert_eq!(faulty.ca.payloads("/order-plz").last().unwrap()["replaces"], serde_json::Value::Null);
    }
}
