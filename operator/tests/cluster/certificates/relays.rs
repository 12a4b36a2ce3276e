//! Certificates that real relays prove and serve.

use crate::{
    cluster::{Cluster, until},
    complaints::program,
};
use adit_acme::SealingKey;
use adit_api::Certificate;
use adit_store::Store;
use adit_testkit::{
    bind::Bind,
    pebble::{Pebble, PebbleOptions},
    redis::Redis,
    region::{DOMAIN, RelayProcess, TestRegion},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, process::Command};

/// The SHA-256 of the certificate that is served for a name, in the format of the status.
async fn served(address: SocketAddr, name: &str) -> String {
    let script = "openssl s_client -connect \"$0\" -servername \"$1\" </dev/null 2>/dev/null \
                  | openssl x509 -noout -fingerprint -sha256 2>/dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, &address.to_string(), name]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_ascii_lowercase()
}

/// Two relays of a region, and a CA that validates at one of them.
struct Fleet {
    cluster: Cluster,
    relays: [RelayProcess; 2],
    pebble: Pebble,
    _region: TestRegion,
    _bind: Bind,
    _redis: Redis,
}

impl Fleet {
    async fn new() -> Self {
        let cluster = Cluster::new().await;
        let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
        store.migrate().await.unwrap();
        let redis = Redis::start();
        let region = TestRegion::new(program("adit-relay")).registry(redis.url()).store(&cluster.store);
        let key = BASE64_STANDARD.decode(region.key().trim()).unwrap();
        store.put_region(DOMAIN, &SealingKey::of(&key).public_text()).await.unwrap();
        let mut relays = ["a", "b"].map(|name| region.spawn(name));
        relays.iter_mut().for_each(RelayProcess::wait_ready);
        until("both relays have reported", async || store.relays_seen().await.unwrap().len() == 2).await;
        let bind = Bind::start();
        let (http_port, tls_port) = (relays[0].http().port(), relays[0].https().port());
        let pebble = Pebble::start(PebbleOptions {
            http_port,
            tls_port,
            ..PebbleOptions::with_resolver(bind.address())
        });
        Self { cluster, relays, pebble, _region: region, _bind: bind, _redis: redis }
    }

    fn api(&self) -> Api<Certificate> {
        Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace)
    }

    /// Applies a Certificate with this solver.
    async fn apply(&self, name: &str, names: &[String], solver: Value) {
        let spec = json!({
            "dnsNames": names,
            "acme": {"server": self.pebble.directory(), "caBundle": self.pebble.ca_text(), "solver": solver},
        });
        let object = json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Certificate",
            "metadata": {"name": name}, "spec": spec});
        self.api().patch(name, &PatchParams::apply("person"), &Patch::Apply(&object)).await.unwrap();
    }

    /// Waits until a revision is rolled out. Returns its fingerprint.
    async fn rolled_out(&self, name: &str, revision: i64) -> String {
        until(&format!("revision {revision} of {name} is rolled out"), async || {
            let status = self.api().get(name).await.unwrap().status.unwrap_or_default();
            let is_out = status.conditions.iter().any(|one| one.type_ == "RolledOut" && one.status == "True");
            is_out && status.revision == Some(revision)
        })
        .await;
        let status = self.api().get(name).await.unwrap().status.unwrap();
        assert_eq!(status.served.summary, "2/2");
        status.fingerprint.unwrap()
    }

    /// Whether both relays serve this certificate for all of these names.
    async fn show(&self, names: &[String], fingerprint: &str) {
        for relay in &self.relays {
            for name in names {
                assert_eq!(served(relay.https(), name).await, fingerprint, "{name} at {}", relay.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_prove_names_by_http_01_and_tls_alpn_01() {
    let fleet = Fleet::new().await;
    let _operator = fleet.cluster.operator();
    let by_http = [format!("shop.{DOMAIN}"), format!("connect.{DOMAIN}")];
    let by_tls = [format!("blog.{DOMAIN}")];
    let before = served(fleet.relays[1].https(), &by_tls[0]).await;
    // Both at once, with separate challenges.
    fleet.apply("by-http", &by_http, json!({"http01": {}})).await;
    fleet.apply("by-tls", &by_tls, json!({"tlsAlpn01": {}})).await;
    let first = fleet.rolled_out("by-http", 1).await;
    let other = fleet.rolled_out("by-tls", 1).await;
    fleet.show(&by_http, &first).await;
    fleet.show(&by_tls, &other).await;

    let (code, text) = fleet.cluster.kubectl_adit(&["renew", "by-http", "--wait"]).await;
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "revision 2 is served by 2/2 relays\n"),
        "{}",
        fleet.cluster.log()
    );
    let second = fleet.rolled_out("by-http", 2).await;
    assert_ne!(second, first);
    fleet.show(&by_http, &second).await;
    fleet.show(&by_tls, &other).await;
    let orders = fleet.pebble.log().matches("Added order").count();
    assert_eq!(orders, 3, "{}", fleet.pebble.log());

    // Without it the relays serve the development certificate again.
    fleet.api().delete("by-tls", &DeleteParams::default()).await.unwrap();
    for relay in &fleet.relays {
        until("what stands in is shown again", async || served(relay.https(), &by_tls[0]).await == before)
            .await;
    }
    fleet.show(&by_http, &second).await;
}
