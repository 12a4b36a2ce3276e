//! A Region that is reached from outside the cluster.

use crate::{
    kubectl::{apply, run, until},
    program,
};
use adit_testkit::{http::Consumer, process::Child};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Ports of this machine and the node ports to which kind-config.yaml maps them.
const PORT_MAPPINGS: [(u16, u16); 3] = [(8443, 30443), (8444, 30444), (8445, 30445)];
/// Maximum time that a test waits for a free port.
const MAX_PORT_WAIT: Duration = Duration::from_secs(600);

static FREE_PORTS: Semaphore = Semaphore::const_new(PORT_MAPPINGS.len());
static RETURNED_PORTS: Mutex<Vec<(u16, u16)>> = Mutex::new(Vec::new());
static USED_PORTS: Mutex<usize> = Mutex::new(0);

/// A port of this machine that is mapped to a node port, for one Region at a time.
#[derive(Debug)]
pub struct MappedPort {
    port: u16,
    node_port: u16,
    permit: Option<SemaphorePermit<'static>>,
}

impl MappedPort {
    /// Waits for a free port.
    pub async fn take() -> Self {
        let permit = tokio::time::timeout(MAX_PORT_WAIT, FREE_PORTS.acquire()).await;
        let permit = permit.expect("no port became free").expect("it is never closed");
        let returned = RETURNED_PORTS.lock().expect("no panic while it is locked").pop();
        let (port, node_port) = returned.unwrap_or_else(|| {
            let mut used = USED_PORTS.lock().expect("no panic while it is locked");
            *used += 1;
            PORT_MAPPINGS[*used - 1]
        });
        Self { port, node_port, permit: Some(permit) }
    }
}

impl Drop for MappedPort {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The objects of the failed test stay, and keep the node port.
            self.permit.take().into_iter().for_each(SemaphorePermit::forget);
            return;
        }
        RETURNED_PORTS.lock().expect("no panic while it is locked").push((self.port, self.node_port));
    }
}

/// A Region that is reached from outside the cluster.
#[derive(Debug)]
pub struct Region {
    namespace: String,
    name: String,
    mapped_port: MappedPort,
    folder: TempDir,
    trusted: String,
}

/// A client of a Region: `adit http`, which ends when this is dropped.
#[derive(Debug)]
pub struct Client {
    /// The process.
    pub process: Child,
    /// The public URL that it printed.
    pub url: String,
    log: PathBuf,
}

impl Region {
    pub(crate) async fn apply(namespace: &str, name: &str, mapped_port: MappedPort, more: Value) -> Self {
        let folder = tempfile::Builder::new().prefix("adit-e2e-").tempdir().expect("a folder can be made");
        let region = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            mapped_port,
            folder,
            trusted: String::new(),
        };
        let mut spec = json!({
            "domain": region.domain(),
            "relays": {"replicas": 2, "drainTimeout": "20s"},
            "exposure": {
                "type": "NodePort",
                "publicPort": region.mapped_port.port,
                "nodePorts": {"https": region.mapped_port.node_port},
            },
            "store": {"relaySecretRef": {"name": "adit-store-relay", "key": "url"}},
        });
        merge(&mut spec, more);
        let metadata = json!({"name": name, "namespace": namespace});
        apply(
            &json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Region", "metadata": metadata, "spec": spec}),
        )
        .await;
        region
    }

    /// The domain.
    pub fn domain(&self) -> String {
        format!("{}.{}.adit.localhost", self.name, self.namespace)
    }

    /// The port of this machine that is mapped to the relays.
    pub fn port(&self) -> u16 {
        self.mapped_port.port
    }

    /// Where a client dials: domain and port.
    pub fn relay(&self) -> String {
        format!("{}:{}", self.domain(), self.port())
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        crate::kubectl::kubectl(&[&["-n", &self.namespace], arguments].concat()).await
    }

    /// Waits with `kubectl wait --for=condition=Ready`.
    pub async fn wait_ready(&self) {
        let name = format!("region/{}", self.name);
        self.kubectl(&["wait", &name, "--for=condition=Ready", "--timeout=180s"]).await;
    }

    /// Makes later consumers and clients trust one more CA (PEM).
    pub fn trust(&mut self, ca: &str) {
        self.trusted.push_str(ca);
    }

    /// A file with the CAs that consumers and clients trust: the development CA, and those of [`Region::trust`].
    pub async fn ca(&self) -> PathBuf {
        let path = self.folder.path().join("ca.pem");
        let name = format!("{}-ca", self.name);
        let text = until("the development CA", async || {
            let arguments =
                ["-n", &self.namespace, "get", "configmap", &name, "-o", r"jsonpath={.data.ca\.crt}"];
            run("kubectl", &arguments, "").await.ok()
        })
        .await;
        std::fs::write(&path, [&text, "\n", &self.trusted].concat()).expect("a file can be written");
        path
    }

    /// `kubectl adit` in the Region's namespace.
    ///
    /// # Errors
    /// The exit code is not 0: the program's output.
    pub async fn adit(&self, arguments: &[&str]) -> Result<String, String> {
        let adit = program("kubectl-adit").display().to_string();
        run(&adit, &[&["-n", &self.namespace], arguments].concat(), "").await
    }

    /// A file with a token for an account.
    pub async fn token(&self, account: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{account}.token"));
        let token = self.adit(&["token", &self.name, "--account", account]).await;
        let token = token.unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(&path, token).expect("a file can be written");
        path
    }

    /// Publishes a service of this machine: `adit http`, from outside the cluster. Waits until its URL answers.
    pub async fn client(&self, account: &str, name: &str, service: SocketAddr) -> Client {
        let (ca, token) = (self.ca().await, self.token(account).await);
        self.client_with(&ca, &token, name, service).await
    }

    /// Publishes a service with the files of a CA and of a token, so that only relays are contacted.
    pub async fn client_with(&self, ca: &Path, token: &Path, name: &str, service: SocketAddr) -> Client {
        let opened = self.try_client(ca, token, name, service).await;
        opened.unwrap_or_else(|output| panic!("the client has no tunnel: {output}"))
    }

    /// Publishes a service of an account whose suspension has just ended, of which relays learn a moment later.
    pub async fn client_after_suspension(&self, account: &str, name: &str, service: SocketAddr) -> Client {
        let (ca, token) = (self.ca().await, self.token(account).await);
        until("the client has a tunnel again", async || {
            self.try_client(&ca, &token, name, service).await.ok()
        })
        .await
    }

    /// # Errors
    /// The client has ended: its output.
    async fn try_client(
        &self,
        ca: &Path,
        token: &Path,
        name: &str,
        service: SocketAddr,
    ) -> Result<Client, String> {
        let account = token.file_stem().unwrap_or_default().to_string_lossy();
        let log = self.folder.path().join(format!("{account}-{name}.log"));
        let mut command = Command::new(program("adit"));
        command
            .args(["http", &service.to_string(), "--name", name, "--relay", &self.relay()])
            .arg("--ca")
            .arg(ca)
            .arg("--token-file")
            .arg(token)
            // A key of its own, as another machine has.
            .env("XDG_STATE_HOME", self.folder.path().join(format!("state-{account}-{name}")));
        // An earlier run of the same client has written to the same file.
        let before = std::fs::read_to_string(&log).map_or(0, |text| text.len());
        let mut process = Child::start_with_output(&command, &log);
        let end = Instant::now() + crate::kubectl::MAX_WAIT;
        loop {
            let is_running = process.is_running();
            let text = std::fs::read_to_string(&log).unwrap_or_default().split_off(before);
            if let Some(url) = text.lines().find(|line| line.starts_with("https://")) {
                return Ok(Client { process, url: url.to_owned(), log });
            }
            if !is_running {
                return Err(text);
            }
            assert!(Instant::now() < end, "the client has no tunnel: {text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The host of a tunnel, as consumers send it.
    pub fn host(&self, name: &str) -> String {
        format!("{name}.{}:{}", self.domain(), self.port())
    }

    /// A consumer of a tunnel, over TLS.
    pub async fn consumer(&self, name: &str) -> Consumer {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port()));
        Consumer::tls(address, &format!("{name}.{}", self.domain()), &self.ca().await, &[b"http/1.1"])
    }

    /// Waits until every relay serves a tunnel. Relays without a session of the client learn of it a moment later.
    pub async fn wait_served(&self, name: &str) {
        let (consumer, host) = (self.consumer(name).await, self.host(name));
        until("the tunnel is served by every relay", async || {
            for _ in 0..12 {
                consumer.get(&host, "/").await.ok().filter(|answer| answer.status == 200)?;
            }
            Some(())
        })
        .await;
    }
}

impl Client {
    /// The output of the client so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Merges a patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(&key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}
