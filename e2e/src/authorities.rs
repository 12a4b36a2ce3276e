//! A CA (Pebble) and a name server (BIND) in one pod of a test's namespace.

use crate::{
    kubectl::{run, until},
    namespace::Namespace,
    port_forward::PortForward,
};
use adit_testkit::{bind::KEY_NAME, pebble};
use serde_json::{Value, json};

/// The TSIG key for updates of the name server's zone. It is worthless outside the test's namespace.
const KEY: &str = "YWRpdC1lMmUtYWRpdC1lMmUtYWRpdC1lMmUtYWRpdC0=";
/// The port of Pebble.
const CA_PORT: u16 = 14_000;
/// The port on which Pebble serves its root certificate.
const MANAGEMENT_PORT: u16 = 15_000;
/// The port of BIND.
const DNS_PORT: u16 = 5_353;
/// A domain for which the CA issues nothing.
pub const BLOCKED: &str = "blocked.test";

/// The CA and the name server of a namespace.
#[derive(Debug)]
pub struct Authorities {
    namespace: String,
    domain: String,
    bundle: String,
}

impl Authorities {
    /// Starts both with a zone for this domain, and waits until they run.
    pub async fn start(namespace: &Namespace, domain: &str) -> Self {
        let name = namespace.name().to_owned();
        let [(_, bundle), (_, certificate), (_, key)] =
            pebble::server_certificate(vec![format!("ca.{name}.svc")]);
        let files = json!({
            "server.pem": certificate,
            "server.key": key,
            "pebble.json": ca().to_string(),
            "zone": zone(domain),
            "named.conf": name_server(domain),
        });
        let metadata = json!({"name": "ca"});
        namespace
            .apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": files}))
            .await;
        let spec = json!({
            "selector": {"matchLabels": {"app": "ca"}},
            "template": {"metadata": {"labels": {"app": "ca"}}, "spec": pod()},
        });
        namespace
            .apply(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}))
            .await;
        let port =
            |name: &str, port: u16, protocol: &str| json!({"name": name, "port": port, "protocol": protocol});
        let spec = json!({
            "selector": {"app": "ca"},
            "ports": [port("acme", CA_PORT, "TCP"), port("dns", DNS_PORT, "UDP"), port("dns-tcp", DNS_PORT, "TCP")],
        });
        namespace
            .apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
            .await;
        namespace.kubectl(&["rollout", "status", "deployment/ca", "--timeout=180s"]).await;
        Self { namespace: name, domain: domain.to_owned(), bundle }
    }

    /// The CA's root certificate (PEM).
    pub async fn root(&self) -> String {
        until("the CA serves its root certificate", async || {
            let forward =
                PortForward::to(&self.namespace, "deployment/ca", &MANAGEMENT_PORT.to_string()).await;
            let url = format!("https://127.0.0.1:{}/roots/0", forward.port());
            run("curl", &["-sSfk", &url], "").await.ok()
        })
        .await
    }

    /// A folder for `kubectl apply -k`: the example of a Certificate, with patches for this CA, name server and domain.
    pub fn of_the_example(&self) -> tempfile::TempDir {
        let folder = tempfile::Builder::new().prefix("adit-e2e-").tempdir().expect("a folder can be made");
        let example = crate::root().join("docs/examples/certificate.yaml");
        std::fs::copy(example, folder.path().join("certificate.yaml")).expect("the example is there");
        let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
        let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
        let at = |port: u16| format!("ca.{}.svc:{port}", self.namespace);
        let domain = &self.domain;
        let certificate = json!([
            replace("/spec/dnsNames", json!([domain, format!("*.{domain}")])),
            // Regions of other tests belong to the same provider.
            add("/spec/regions", json!([domain])),
            replace("/spec/acme/server", json!(format!("https://{}/dir", at(CA_PORT)))),
            add("/spec/acme/caBundle", json!(self.bundle)),
            replace("/spec/acme/solver/dns01/rfc2136/server", json!(at(DNS_PORT))),
        ]);
        let secret = json!([replace("/stringData/key", json!(KEY))]);
        let patch = |kind: &str, patch: Value| json!({"target": {"kind": kind}, "patch": patch.to_string()});
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "namespace": self.namespace, "resources": ["certificate.yaml"],
            "patches": [patch("Certificate", certificate), patch("Secret", secret)],
        });
        let file = folder.path().join("kustomization.yaml");
        std::fs::write(file, kustomization.to_string()).expect("a file can be written");
        folder
    }
}

fn zone(domain: &str) -> String {
    format!(
        "$TTL 5\n@ SOA ns.{domain}. root.{domain}. 1 3600 600 86400 5\n@ NS ns.{domain}.\nns A 127.0.0.1\n"
    )
}

fn name_server(domain: &str) -> String {
    format!(
        "options {{ directory \"/run/named\"; pid-file none; session-keyfile none; recursion no; \
           listen-on port {DNS_PORT} {{ any; }}; listen-on-v6 {{ none; }}; dnssec-validation no; notify no; }};\n\
         controls {{ }};\n\
         key \"{KEY_NAME}\" {{ algorithm hmac-sha256; secret \"{KEY}\"; }};\n\
         zone \"{domain}\" {{ type primary; file \"/etc/ca/zone\"; journal \"/run/named/journal\"; \
           allow-update {{ key \"{KEY_NAME}\"; }}; }};\n"
    )
}

fn ca() -> Value {
    json!({ "pebble": {
        "listenAddress": format!("0.0.0.0:{CA_PORT}"),
        "managementListenAddress": format!("127.0.0.1:{MANAGEMENT_PORT}"),
        "certificate": "/etc/ca/server.pem",
        "privateKey": "/etc/ca/server.key",
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
        "domainBlocklist": [BLOCKED],
        "retryAfter": { "authz": 1, "order": 1 },
        "keyAlgorithm": "ecdsa",
        "profiles": { "default": { "description": "ninety days", "validityPeriod": 7_776_000 } },
    } })
}

fn pod() -> Value {
    let image = crate::required_variable("AUTHORITIES_IMAGE");
    let mounts =
        json!([{"name": "files", "mountPath": "/etc/ca"}, {"name": "run", "mountPath": "/run/named"}]);
    let container = |name: &str, command: &[&str], port: u16, env: Value| {
        json!({
            "name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": command, "env": env,
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": mounts, "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        })
    };
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    let resolver = format!("127.0.0.1:{DNS_PORT}");
    let pebble = ["pebble", "-config", "/etc/ca/pebble.json", "-dnsserver", &resolver];
    let usual = json!([env("PEBBLE_VA_NOSLEEP", "1"), env("PEBBLE_AUTHZREUSE", "0")]);
    let named = ["named", "-g", "-n", "1", "-c", "/etc/ca/named.conf"];
    json!({
        "automountServiceAccountToken": false,
        // Nothing has to be saved at the end.
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            container("ca", &pebble, CA_PORT, usual),
            container("dns", &named, DNS_PORT, json!([])),
        ],
        "volumes": [{"name": "files", "secret": {"secretName": "ca"}}, {"name": "run", "emptyDir": {}}],
    })
}
