//! Tunnels through the relays of a Region.

use adit_e2e::{kubectl::run, namespace::Namespace};
use adit_testkit::http::Service;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_outside_the_cluster_is_published_by_two_relays() {
    let namespace = Namespace::new("tunnels").await;
    let region = namespace.region("eu", json!({})).await;
    region.wait_ready().await;
    let status = namespace.get("region", "eu").await.unwrap()["status"].clone();
    assert_eq!(status["relays"]["summary"], "2/2", "{status}");
    let service = Service::start().await;
    let client = region.client("me", "shop", service.address()).await;
    assert_eq!(client.url, format!("https://shop.{}", region.relay()));
    region.wait_served("shop").await;
    let before = service.requests();
    let ca = region.ca().await;
    let url = format!("{}/bytes/1000", client.url);
    let ca = ca.to_str().unwrap();
    let said = "%{http_code} %{size_download}";
    let words =
        ["--silent", "--show-error", "--cacert", ca, "--output", "/dev/null", "--write-out", said, &url];
    assert_eq!(run("curl", &words, "").await.unwrap(), "200 1000");
    assert_eq!(service.requests(), before + 1);
    drop(client);
    namespace.end().await;
}
