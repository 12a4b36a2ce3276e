//! Certificates, from the object to the relay that serves them.

mod killed;
mod refused;
mod relays;
mod shown;

use crate::cluster::{Cluster, MAX_WAIT, until};
use adit_acme::{KeyAlgorithm, SealingKey, certificate::self_signed};
use adit_api::Certificate;
use adit_store::{RelayStatus, Store};
use adit_testkit::{
    bind::{Bind, KEY_NAME},
    pebble::{Pebble, PebbleOptions},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::time::Instant;

/// The region of all tests here. The test takes the place of its relay: it reads the store and confirms.
const REGION: &str = "eu.example.test";
/// The relay's id.
const RELAY: &str = "eu-relay-1-00ff";

struct CertificateFixture {
    cluster: Cluster,
    bind: Bind,
    pebble: Pebble,
    store: Store,
}

impl CertificateFixture {
    async fn new() -> Self {
        let cluster = Cluster::new().await;
        let bind = tokio::task::spawn_blocking(Bind::start).await.unwrap();
        let dns = bind.address();
        let start = move || Pebble::start(PebbleOptions::with_resolver(dns));
        let pebble = tokio::task::spawn_blocking(start).await.unwrap();
        let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
        store.migrate().await.unwrap();
        store.put_region(REGION, &SealingKey::of(&[7; 32]).public_text()).await.unwrap();
        let fixture = Self { cluster, bind, pebble, store };
        fixture.secret("tsig", "Opaque", json!({"key": fixture.bind.key()})).await;
        fixture
    }

    fn api(&self) -> Api<Certificate> {
        Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace)
    }

    async fn secret(&self, name: &str, kind: &str, data: Value) {
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": name}, "type": kind, "stringData": data}))
                .unwrap();
        let api = Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace);
        let _ = api.delete(name, &DeleteParams::default()).await;
        api.create(&PostParams::default(), &secret).await.unwrap();
    }

    fn acme(&self, names: &[&str]) -> Value {
        json!({
            "dnsNames": names,
            "acme": {
                "server": self.pebble.directory(), "caBundle": self.pebble.ca_text(),
                "solver": {"dns01": {"rfc2136": {
                    "server": self.bind.address(), "keyName": KEY_NAME, "secretRef": {"name": "tsig", "key": "key"},
                }}},
            },
        })
    }

    async fn apply(&self, name: &str, spec: &Value) {
        let object = json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Certificate",
            "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("person").force();
        self.api().patch(name, &params, &Patch::Apply(&object)).await.unwrap();
    }

    /// Waits for a condition, in place of the relay meanwhile. Returns the condition's message.
    async fn wait_for(&self, name: &str, kind: &str, status: &str, reason: &str) -> String {
        let end = Instant::now() + MAX_WAIT;
        loop {
            self.confirm().await;
            let found = self.api().get(name).await.unwrap();
            let conditions = found.status.clone().unwrap_or_default().conditions;
            let condition = conditions.into_iter().find(|condition| condition.type_ == kind);
            if let Some(one) = condition.clone().filter(|one| {
                one.status == status
                    && one.reason == reason
                    && one.observed_generation == found.metadata.generation
            }) {
                return one.message;
            }
            assert!(Instant::now() < end, "{kind} is {condition:?}; {}", self.cluster.log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Takes the place of the relay: reads the region's certificates and confirms them.
    async fn confirm(&self) {
        let set = self.store.certificates_for(REGION).await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let open = |(stored, sealed): &(adit_store::StoredCertificate, String)| {
            let key = adit_acme::open_key(&SealingKey::of(&[7; 32]), &stored.id, sealed).unwrap();
            adit_acme::certificate::check(&stored.chain, &key, &stored.names, now).unwrap().fingerprint
        };
        let seen = RelayStatus {
            region: REGION.to_owned(),
            relay: RELAY.parse().unwrap(),
            started: now,
            seen: now,
            suspensions_version: 0,
            config_revision: String::new(),
            config_refused: None,
            draining: false,
            sessions: 0,
            tunnels: 0,
            registry_up: true,
            challenges_version: self.store.challenges(now).await.unwrap().version,
            served: set.list.iter().map(open).collect(),
            certificate_problem: None,
        };
        self.store.relay_seen(&seen).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_issued_rolled_out_renewed_and_removed() {
    let fixture = CertificateFixture::new().await;
    let _operator = fixture.cluster.operator();
    let mut spec = fixture.acme(&["eu.example.test", "*.eu.example.test"]);
    spec["revokeOnDelete"] = json!(true);
    fixture.apply("eu", &spec).await;
    fixture.wait_for("eu", "Ready", "True", "Issued").await;
    // Its Region is in no cluster that can be probed: its report counts, and the message says so.
    let message = fixture.wait_for("eu", "RolledOut", "True", "RolledOut").await;
    assert!(message.contains("not verified by a TLS handshake"), "{message}");
    assert!(message.contains("(its Region is not in this cluster)"), "{message}");
    let status = fixture.api().get("eu").await.unwrap().status.unwrap();
    assert_eq!((status.served.summary.as_str(), status.revision), ("1/1", Some(1)));
    assert!(status.renewal_time.is_some() && status.serial.is_some() && status.not_after.is_some());
    let first = status.fingerprint.unwrap();

    let (code, text) = fixture.cluster.kubectl_adit(&["certificates"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("/eu ") && text.contains(" True   1/1 "), "{text}");
    let (code, text) = fixture.cluster.kubectl_adit(&["renew", "eu"]).await;
    assert_eq!(code, Some(0), "{text}");
    until("there is another one", async || {
        fixture.confirm().await;
        let status = fixture.api().get("eu").await.unwrap().status.unwrap();
        status.revision == Some(2) && status.fingerprint.as_ref() != Some(&first)
    })
    .await;
    let waiting = fixture.cluster.kubectl_adit(&["renew", "eu", "--wait"]);
    let playing = async {
        loop {
            fixture.confirm().await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let (code, text) = tokio::select! { said = waiting => said, () = playing => unreachable!("it goes on") };
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text, "revision 3 is served by 1/1 relays\n");
    fixture.wait_for("eu", "RolledOut", "True", "RolledOut").await;

    fixture.api().delete("eu", &DeleteParams::default()).await.unwrap();
    until("it is gone", async || fixture.api().get_opt("eu").await.unwrap().is_none()).await;
    assert_eq!(fixture.store.certificates_for(REGION).await.unwrap().list, []);
    assert!(fixture.pebble.log().contains("revoke"), "{}", fixture.cluster.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_reported_until_they_are_corrected() {
    let fixture = CertificateFixture::new().await;
    let _operator = fixture.cluster.operator();
    let mut spec = fixture.acme(&["shop.example.test"]);
    spec["acme"]["solver"]["dns01"]["rfc2136"]["secretRef"]["name"] = json!("missing");
    fixture.apply("shop", &spec).await;
    let message = fixture.wait_for("shop", "Ready", "False", "SecretNotFound").await;
    assert!(
        message.contains("spec.acme.solver.dns01.rfc2136.secretRef: there is no Secret \"missing\""),
        "{message}"
    );
    fixture.secret("short", "Opaque", json!({"key": "AAAA"})).await;
    spec["acme"]["solver"]["dns01"]["rfc2136"]["secretRef"]["name"] = json!("short");
    fixture.apply("shop", &spec).await;
    let message = fixture.wait_for("shop", "Ready", "False", "InvalidSecret").await;
    assert!(message.contains("is not at least 16 bytes in base64"), "{message}");
    let mut blocked = fixture.acme(&["shop.blocked.test"]);
    blocked["acme"]["solver"] = json!({"http01": {}});
    fixture.apply("blocked", &blocked).await;
    let message = fixture.wait_for("blocked", "Ready", "False", "NameRejected").await;
    assert!(message.contains("blocked"), "{message}");
    fixture.apply("shop", &fixture.acme(&["shop.example.test"])).await;
    fixture.wait_for("shop", "RolledOut", "True", "RolledOut").await;

    // The same name in a second Certificate: the first keeps it.
    fixture.apply("second", &fixture.acme(&["other.example.test", "shop.example.test"])).await;
    let message = fixture.wait_for("second", "Conflict", "True", "NameTaken").await;
    assert!(message.contains("/shop"), "{message}");
    assert_eq!(fixture.store.certificates_for(REGION).await.unwrap().list.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_s_certificate_is_followed_while_it_is_valid() {
    let fixture = CertificateFixture::new().await;
    let _operator = fixture.cluster.operator();
    let make = |name: &str| {
        let names = [name.to_owned()];
        self_signed(&names, KeyAlgorithm::EcdsaP256, time::OffsetDateTime::now_utc()).unwrap()
    };
    let put = async |chain: &str, key: &str| {
        fixture.secret("own", "kubernetes.io/tls", json!({"tls.crt": chain, "tls.key": key})).await;
    };
    let served = async || fixture.store.certificates_for(REGION).await.unwrap().list[0].0.fingerprint.clone();
    fixture.apply("own", &json!({"dnsNames": ["own.example.test"], "secretRef": {"name": "own"}})).await;
    fixture.wait_for("own", "Ready", "False", "SecretNotFound").await;
    let (chain, key) = make("own.example.test");
    put(&chain, &key).await;
    fixture.wait_for("own", "RolledOut", "True", "RolledOut").await;
    let first = served().await;
    let (other, strange) = make("own.example.test");
    put(&chain, &strange).await;
    let message = fixture.wait_for("own", "Ready", "False", "InvalidSecret").await;
    assert!(message.contains("the private key does not match the certificate"), "{message}");
    let (elsewhere, its_key) = make("elsewhere.example.test");
    put(&elsewhere, &its_key).await;
    until("the name is missed", async || {
        let status = fixture.api().get("own").await.unwrap().status.unwrap();
        status.conditions.iter().any(|one| one.message.contains("not for \"own.example.test\""))
    })
    .await;
    let names = ["own.example.test".to_owned()];
    for (days, words) in [(-4_000, "the certificate expired at"), (30, "the certificate is not valid before")]
    {
        let then = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        let (chain, key) = self_signed(&names, KeyAlgorithm::EcdsaP256, then).unwrap();
        put(&chain, &key).await;
        until(words, async || {
            let status = fixture.api().get("own").await.unwrap().status.unwrap();
            status.conditions.iter().any(|one| one.message.contains(words))
        })
        .await;
    }
    fixture.secret("own", "Opaque", json!({"tls.crt": "x", "tls.key": "y"})).await;
    until("the type is named", async || {
        let status = fixture.api().get("own").await.unwrap().status.unwrap();
        status.conditions.iter().any(|one| one.message.contains("not kubernetes.io/tls"))
    })
    .await;
    assert_eq!(served().await, first, "what is served stays");
    put(&other, &strange).await;
    until("the new one is served", async || served().await != first).await;
    fixture.wait_for("own", "RolledOut", "True", "RolledOut").await;

    let with_secret = json!({"dnsNames": ["self.example.test"], "selfSigned": {}, "secretName": "copy"});
    fixture.apply("self", &with_secret).await;
    fixture.wait_for("self", "RolledOut", "True", "RolledOut").await;
    let secrets: Api<Secret> = Api::namespaced(fixture.cluster.client.clone(), &fixture.cluster.namespace);
    let copy = secrets.get("copy").await.unwrap();
    let text = |key: &str| String::from_utf8(copy.data.as_ref().unwrap()[key].0.clone()).unwrap();
    let names = ["self.example.test".to_owned()];
    let now = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap();
    adit_acme::certificate::check(&text("tls.crt"), &text("tls.key"), &names, now).unwrap();
    // A Secret of someone else is not overwritten.
    let taken = json!({"dnsNames": ["taken.example.test"], "selfSigned": {}, "secretName": "tsig"});
    fixture.apply("taken", &taken).await;
    fixture.wait_for("taken", "Ready", "False", "SecretTaken").await;
    assert!(secrets.get("tsig").await.unwrap().data.unwrap().contains_key("key"));
}
