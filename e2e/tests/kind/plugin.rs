//! The plugin `kubectl adit`.

use crate::published::Published;
use adit_e2e::namespace::Namespace;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_adit_shows_the_state_and_explains_problems() {
    let published = Published::new(Namespace::new("plugin").await, json!({})).await;
    let region = &published.region;
    let status: Value = serde_json::from_str(&region.adit(&["status", "-o", "json"]).await.unwrap()).unwrap();
    let regions = &status["regions"];
    assert_eq!((&regions[0]["region"], &regions[0]["relays"]), (&json!("eu"), &json!("2/2")), "{status}");
    assert_eq!(status["complaints"], json!([]), "{status}");
    // Without a Certificate relays serve one of the development CA.
    assert!(region.adit(&["status"]).await.unwrap().contains("CertificateServed"));

    let tunnels: Value =
        serde_json::from_str(&region.adit(&["tunnels", "-o", "json"]).await.unwrap()).unwrap();
    assert_eq!(tunnels.as_array().unwrap().len(), 1, "{tunnels}");
    assert_eq!(tunnels[0]["url"], published.client.url, "{tunnels}");
    let table = region.adit(&["tunnels", "eu"]).await.unwrap();
    assert!(table.lines().nth(1).unwrap().contains(" me "), "{table}");

    let url = format!("{}/bytes/10", published.client.url);
    let explained = region.adit(&["explain", &url]).await.unwrap();
    assert!(explained.contains("answered 200"), "{explained}");
    let nobody = format!("https://nobody.{}/", region.relay());
    let refused = region.adit(&["explain", &nobody]).await.unwrap_err();
    assert!(refused.contains("exit status: 8"), "{refused}");
    assert!(refused.contains("no client publishes") && refused.contains("unknown_host"), "{refused}");
    let elsewhere = region.adit(&["explain", "https://example.com/"]).await.unwrap_err();
    assert!(elsewhere.contains("exit status: 2") && elsewhere.contains(&region.domain()), "{elsewhere}");
    published.end().await;
}
