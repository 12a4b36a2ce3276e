//! A Certificate: applied with kubectl, issued by a CA in the cluster, served by every relay, renewed under load.

use crate::published::{Published, limits};
use adit_e2e::{
    authorities::{Authorities, BLOCKED},
    kubectl::{run, until},
    namespace::Namespace,
    port_forward::PortForward,
};
use adit_testkit::{http::WebSocket, soak::Record};
use serde_json::{Value, json};
use std::time::Instant;

/// Number of connections under load while a certificate is renewed.
const CONNECTIONS: usize = 64;
/// Number of WebSockets that stay open.
const SOCKETS: usize = 20;

/// The SHA-256 of the certificate that `openssl s_client` receives and verifies, in the format of the status; its output if
/// it cannot verify it.
async fn served_fingerprint(port: u16, name: &str, ca: &str) -> Result<String, String> {
    let script = r#"set -e
        text=$(openssl s_client -connect "127.0.0.1:$0" -servername "$1" -CAfile "$2" \
            -verify_hostname "$1" -verify_return_error </dev/null 2>&1) || { echo "$text" >&2; exit 1; }
        echo "$text" | openssl x509 -noout -fingerprint -sha256 -issuer"#;
    let text = run("sh", &["-c", script, &port.to_string(), name, ca], "").await?;
    if !text.contains("Pebble Intermediate CA") {
        return Err(text);
    }
    let line = text.lines().find(|line| line.contains("Fingerprint")).unwrap_or_default();
    Ok(line.rsplit('=').next().unwrap_or_default().replace(':', "").to_ascii_lowercase())
}

/// Waits until every relay serves this certificate for every name.
async fn wait_served_by_all(published: &Published, fingerprint: &Value) {
    let (namespace, domain) = (&published.namespace, published.region.domain());
    let relays = namespace.list("pods", "app.kubernetes.io/component=relay").await;
    assert_eq!(relays.len(), 2);
    let ca = published.region.ca().await;
    let names = [domain.clone(), format!("shop.{domain}"), format!("connect.{domain}")];
    for relay in relays {
        let pod = format!("pod/{}", relay["metadata"]["name"].as_str().unwrap());
        until(&format!("{pod} shows {fingerprint}"), async || {
            let way = PortForward::to(namespace.name(), &pod, "https").await;
            for name in &names {
                let found = served_fingerprint(way.port(), name, ca.to_str().unwrap()).await;
                if found.as_ref().map(String::as_str) != Ok(fingerprint.as_str().unwrap()) {
                    println!("{pod} for {name}: {found:?}");
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

/// The reason and the message of a condition of the Certificate.
fn said(certificate: &Value, kind: &str) -> (String, String) {
    let conditions = certificate["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let one = conditions.into_iter().find(|one| one["type"] == kind).unwrap_or_default();
    let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

async fn are_open(sockets: &mut [WebSocket], word: &str) {
    for socket in sockets {
        socket.send(1, word).await.unwrap();
        assert_eq!(socket.receive().await.unwrap().payload, word.as_bytes());
    }
}

/// Adds a name that the CA refuses: the condition has the CA's message, and relays serve the certificate before.
async fn is_kept_when_the_ca_refuses(published: &Published, fingerprint: &Value) {
    let (namespace, region) = (&published.namespace, &published.region);
    let blocked = format!("shop.{BLOCKED}");
    let names = json!({"spec": {"dnsNames": [region.domain(), format!("*.{}", region.domain()), blocked]}});
    namespace
        .kubectl(&["patch", "certificate.adit.dev", "eu", "--type=merge", "-p", &names.to_string()])
        .await;
    let refused = namespace
        .until("certificate.adit.dev", "eu", "says what the CA said", |certificate| {
            said(certificate, "Ready").0 == "NameRejected"
        })
        .await;
    let (_, message) = said(&refused, "Ready");
    assert!(message.contains(&blocked), "{message}");
    assert_eq!(refused["status"]["fingerprint"], *fingerprint, "{refused}");
    wait_served_by_all(published, fingerprint).await;
    let answer = region.consumer("shop").await.get(&region.host("shop"), "/").await;
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_certificate_is_issued_and_renewed_under_load() {
    let namespace = Namespace::new("certificates").await;
    let mut region = namespace.region("eu", json!({"limits": limits()})).await;
    let authorities = Authorities::start(&namespace, &region.domain()).await;
    region.trust(&authorities.root().await);
    let published = Published::at(namespace, region).await;
    let (namespace, region) = (&published.namespace, &published.region);
    let (consumer, host) = (region.consumer("shop").await, region.host("shop"));
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(consumer.websocket(&host, "/ws").await.unwrap());
    }

    // Issued.
    let record = Record::begin("the example of a Certificate, applied, renewed and refused, on Kubernetes");
    let folder = authorities.of_the_example();
    let applied = Instant::now();
    let folder = folder.path().to_str().unwrap();
    run("kubectl", &["apply", "-k", folder], "").await.unwrap();
    let wait = ["wait", "certificate.adit.dev/eu", "--for=condition=RolledOut", "--timeout=180s"];
    namespace.kubectl(&wait).await;
    let took = applied.elapsed();
    println!("from kubectl apply to RolledOut: {:.1} s", took.as_secs_f64());
    let first = namespace
        .until("certificate.adit.dev", "eu", "is served by both relays", |certificate| {
            certificate["status"]["served"]["summary"] == "2/2"
        })
        .await["status"]
        .clone();
    assert_eq!(first["revision"], 1, "{first}");
    wait_served_by_all(&published, &first["fingerprint"]).await;
    are_open(&mut sockets, "issued").await;
    namespace
        .until("region", "eu", "says which certificate is served", |region| {
            region["status"]["notAfter"] == first["notAfter"]
        })
        .await;

    // Renewed.
    let load = published.load(CONNECTIONS).await;
    load.until_answered(500).await;
    region.adit(&["renew", "eu"]).await.unwrap();
    let second = namespace
        .until("certificate.adit.dev", "eu", "is another one and rolled out", |certificate| {
            certificate["status"]["revision"] == 2 && said(certificate, "RolledOut").0 == "RolledOut"
        })
        .await["status"]
        .clone();
    load.until_answered(500).await;
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:?}", failures.len());
    are_open(&mut sockets, "renewed").await;
    assert_ne!(second["fingerprint"], first["fingerprint"]);
    wait_served_by_all(&published, &second["fingerprint"]).await;

    is_kept_when_the_ca_refuses(&published, &second["fingerprint"]).await;
    // The certificate is not issued again.
    run("kubectl", &["apply", "-k", folder], "").await.unwrap();
    let restored = namespace.condition("certificate.adit.dev", "eu", "Ready", "True").await;
    assert_eq!(restored["status"]["revision"], 2, "{restored}");
    are_open(&mut sockets, "kept").await;

    record.end(format!(
        "served by all relays after {:.1} s; {answered} requests on {CONNECTIONS} connections while it was renewed, 0 \
         failed; {SOCKETS} WebSockets open throughout",
        took.as_secs_f64()
    ));
    namespace.kubectl(&["delete", "certificate.adit.dev", "eu", "--timeout=180s"]).await;
    drop(sockets);
    published.end().await;
}
