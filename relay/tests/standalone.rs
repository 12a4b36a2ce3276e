//! One relay alone, a client of the library, a service, consumers.

use adit::Tunnel;
use adit_testkit::{
    http::{Consumer, Service},
    region::{DOMAIN, Region},
};

fn region() -> Region {
    Region::new(env!("CARGO_BIN_EXE_adit-relay"))
}

async fn open(region: &Region, relay: &adit_testkit::region::Relay, service: &Service, name: &str) -> Tunnel {
    Tunnel::http(service.address().to_string())
        .name(name)
        .relay(format!("{DOMAIN}:{}", relay.https().port()))
        .token(region.token(relay, "ci", &[]))
        .ca(region.ca())
        .open()
        .await
        .expect("the tunnel opens")
}

#[tokio::test]
async fn a_request_reaches_the_service_and_its_answer_the_consumer() {
    let region = region();
    let relay = region.start("a");
    let service = Service::start().await;
    let tunnel = open(&region, &relay, &service, "shop").await;
    assert_eq!(tunnel.url(), format!("https://shop.{DOMAIN}:{}", relay.https().port()));
    let host = format!("shop.{DOMAIN}");
    let answer = Consumer::plain(relay.http()).get(&host, "/echo").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer =
        Consumer::tls(relay.https(), &host, &region.ca(), &[b"http/1.1"]).get(&host, "/echo").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}
