//! A relay that gets its own certificate.

use crate::fixture::{Authorities, served_fingerprint};
use adit_store::{Store, StoreUrl};
use adit_testkit::{
    bind::KEY_NAME,
    http::Consumer,
    region::{DOMAIN, RelayProcess, TestRegion},
    wait::until_async,
};
use std::time::Duration;

/// Restarts a relay with a section tls.acme in its relay.yaml, once the CA knows its ports.
fn configure(region: &TestRegion, relay: &mut RelayProcess, authorities: &Authorities, more: &str) {
    let text = std::fs::read_to_string(&relay.config).unwrap();
    let acme = format!(
        "acme: {{server: '{}', caBundle: '{}', resolvers: ['{}'], {more}}}",
        authorities.pebble.directory(),
        authorities.pebble.ca().display(),
        authorities.bind.address(),
    );
    let text = text.replace("tls: {certificates:", &format!("tls: {{{acme}, certificates:"));
    std::fs::write(&relay.config, text).unwrap();
    relay.child.term();
    assert!(relay.child.wait(Duration::from_secs(60)).is_some(), "{}", relay.child.output());
    region.restart(relay);
}

async fn gets_a_certificate(challenge: &str, name: &str, more: &str) {
    let region = TestRegion::new(env!("CARGO_BIN_EXE_adit-relay"));
    let mut relay = region.start("a");
    let authorities = Authorities::start(relay.http().port(), relay.https().port());
    let before = served_fingerprint(relay.https(), name);
    let key = relay.config.with_file_name("tsig.key");
    std::fs::write(&key, authorities.bind.key()).unwrap();
    let dns =
        format!("dns: {{server: '{}', keyName: {KEY_NAME}, key: tsig.key}}", authorities.bind.address());
    let more = more.replace("DNS", &dns);
    configure(&region, &mut relay, &authorities, &format!("challenge: {challenge}{more}"));
    let store = Store::open(&StoreUrl::Sqlite(relay.config.with_file_name("adit.db"))).unwrap();
    let id = format!("relay/{DOMAIN}");
    until_async("a certificate is issued", async || {
        let failed = store.acme_order(&id).await.unwrap_or_default().and_then(|order| order.problem);
        assert_eq!(failed, None, "{}", relay.child.output());
        store.certificate(&id).await.unwrap_or_default().is_some()
    })
    .await;
    let issued = store.certificate(&id).await.unwrap().unwrap();
    until_async("it is served", async || served_fingerprint(relay.https(), name) == issued.fingerprint).await;
    assert_ne!(issued.fingerprint, before);
    until_async("the relay says so", async || {
        let seen = store.relays_seen().await.unwrap_or_default();
        seen.iter().any(|relay| relay.served == [issued.fingerprint.clone()])
    })
    .await;
    assert!(relay.metric("adit_certificate_not_after_seconds") > 1_700_000_000);
    until_async("the attempt is counted", async || relay.metric("adit_certificate_attempts_total") == 1)
        .await;
    assert_eq!(relay.metric("adit_certificate_failures_total"), 0);
    // What is no challenge is the tunnels' affair.
    let answer =
        Consumer::plain(relay.http()).get(name, "/.well-known/acme-challenge/unknown").await.unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(answer.text().contains("adit") || !answer.headers.is_empty());
    // A relay that starts anew serves it at once.
    relay.child.kill();
    region.restart(&mut relay);
    assert_eq!(served_fingerprint(relay.https(), name), issued.fingerprint);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_gets_its_certificate_by_http_01() {
    gets_a_certificate("http01", "connect.adit.localhost", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_gets_its_certificate_by_tls_alpn_01() {
    gets_a_certificate("tlsAlpn01", "shop.adit.localhost", ", names: [shop.adit.localhost]").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_gets_its_wildcard_by_dns_01() {
    gets_a_certificate("dns01", "any.adit.localhost", ", DNS").await;
}
