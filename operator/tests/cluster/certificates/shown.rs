//! A TLS handshake counts more than a relay's report.

use super::{CertificateFixture, REGION, RELAY};
use adit_acme::{KeyAlgorithm, SealingKey, certificate, open_key};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

/// The certificate that the relay's pod serves for every name; none at first.
#[derive(Debug, Default)]
struct Shown {
    certificate: Mutex<Option<Arc<CertifiedKey>>>,
    names: Mutex<Vec<String>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.names.lock().unwrap().push(hello.server_name()?.to_owned());
        self.certificate.lock().unwrap().clone()
    }
}

impl Shown {
    fn show(&self, chain: &str, key: &str) {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let made = CertifiedKey::from_der(certificate::chain(chain).unwrap(), key, &provider).unwrap();
        *self.certificate.lock().unwrap() = Some(Arc::new(made));
    }
}

/// Starts a TLS server. Returns its port.
async fn serve(shown: Arc<Shown>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_cert_resolver(shown)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let _ = tls.read(&mut [0; 1]).await;
            }
        }
    });
    port
}

/// A Region without relays, because its store is missing, and a pod of a relay at this port.
async fn region_with_pod(fixture: &CertificateFixture, port: u16) {
    let mut spec = crate::cluster::spec(&fixture.cluster.namespace);
    spec["domain"] = json!(REGION);
    spec["store"]["relaySecretRef"]["name"] = json!("missing");
    fixture.cluster.apply("eu", &spec).await.unwrap();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": RELAY.trim_end_matches("-00ff"),
            "labels": {"adit.dev/region": "eu", "app.kubernetes.io/component": "relay"},
        },
        "spec": {"containers": [{
            "name": "relay", "image": "relay:1", "ports": [{"name": "https", "containerPort": port}],
        }]},
    }))
    .unwrap();
    let pods: Api<Pod> = Api::namespaced(fixture.cluster.client.clone(), &fixture.cluster.namespace);
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let status = json!({"status": {
        "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
    }});
    let name = RELAY.trim_end_matches("-00ff");
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_serves_another_certificate_is_named() {
    let fixture = CertificateFixture::new().await;
    let shown = Arc::new(Shown::default());
    region_with_pod(&fixture, serve(shown.clone()).await).await;
    let _operator = fixture.cluster.operator();
    let names = json!([REGION, format!("*.{REGION}")]);
    fixture.apply("eu", &json!({"dnsNames": names, "selfSigned": {}})).await;
    let message = fixture.wait_for("eu", "RolledOut", "False", "NotServed").await;
    assert!(message.starts_with("Relay eu-relay-1 of eu.example.test has confirmed it"), "{message}");

    let other = [REGION.to_owned()];
    let now = time::OffsetDateTime::now_utc();
    let (chain, key) = certificate::self_signed(&other, KeyAlgorithm::EcdsaP256, now).unwrap();
    shown.show(&chain, &key);
    let message = fixture.wait_for("eu", "RolledOut", "False", "ServedOtherwise").await;
    assert!(message.ends_with(&certificate::facts(&chain).unwrap().fingerprint), "{message}");
    let (code, text) = fixture.cluster.kubectl_adit(&["certificates"]).await;
    assert_eq!(code, Some(8), "{text}");
    assert!(text.contains("ServedOtherwise: Relay eu-relay-1"), "{text}");

    let set = fixture.store.certificates_for(REGION).await.unwrap();
    let (stored, sealed) = &set.list[0];
    shown.show(&stored.chain, &open_key(&SealingKey::of(&[7; 32]), &stored.id, sealed).unwrap());
    let message = fixture.wait_for("eu", "RolledOut", "True", "RolledOut").await;
    assert_eq!(message, "The only relay serves it");
    let asked = shown.names.lock().unwrap().clone();
    assert!(asked.contains(&format!("adit-probe-certificate.{REGION}")), "{asked:?}");
}
