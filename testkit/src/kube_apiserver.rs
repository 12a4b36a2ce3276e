//! A real Kubernetes API server with its etcd, and nothing else: no controllers, no nodes.

use crate::{
    port::Port,
    process::{Child, is_installed, spawn},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Maximum time to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Run with the folder as its argument: removes it once standard input is closed. What all tests of a process share is never
/// dropped, and the two programs are still ending when the process has ended.
const CLEANUP_SCRIPT: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
for pause in 0 0.2 1 5; do sleep $pause; rm -rf -- "$1"; done
"#;

/// An API server on a port of its own on 127.0.0.1, whose etcd keeps its data in a folder of its own.
///
/// Both end, and the folder goes, when it is dropped and when the test process is killed. All methods block their thread.
#[derive(Debug)]
pub struct KubeApiserver {
    server: Child,
    // Ends after the server that needs it.
    _etcd: Child,
    port: Port,
    etcd_port: Port,
    _etcd_peer: Port,
    token: String,
    folder: TempDir,
    _warden: std::process::Child,
}

/// Whether the programs are on PATH.
pub fn is_available() -> bool {
    is_installed("kube-apiserver") && is_installed("etcd")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file can be written");
}

impl KubeApiserver {
    /// Starts both and waits until the server is ready.
    ///
    /// Panics when they are not installed or do not start.
    pub fn start() -> Self {
        assert!(is_available(), "kube-apiserver and etcd are not installed: scripts/kube-programs");
        let folder =
            tempfile::Builder::new().prefix("adit-apiserver-").tempdir().expect("a folder can be made");
        let mut warden = Command::new("/bin/sh");
        warden.args(["-c", CLEANUP_SCRIPT, "adit-testkit"]).arg(folder.path());
        warden.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let warden = spawn(warden).expect("/bin/sh can be started");
        let (port, etcd_port, etcd_peer) = (Port::take(), Port::take(), Port::take());
        let etcd = start_etcd(folder.path(), &etcd_port, &etcd_peer);
        make_certificates(folder.path());
        let token = format!("{:032x}", rand::random::<u128>());
        write(&folder.path().join("tokens.csv"), &format!("{token},admin,admin,\"system:masters\"\n"));
        let server = start_server(folder.path(), &port, &etcd_port);
        let mut apiserver = Self {
            server,
            _etcd: etcd,
            port,
            etcd_port,
            _etcd_peer: etcd_peer,
            token,
            folder,
            _warden: warden,
        };
        write(&apiserver.kubeconfig(), &apiserver.kubeconfig_for(&apiserver.url()));
        apiserver.wait_until_ready();
        apiserver
    }

    /// One server for all tests of this process. It ends with the process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<KubeApiserver> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// A file with which a person of the group `system:masters` reaches it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The same as text, for another address that leads to it.
    pub fn kubeconfig_for(&self, url: &str) -> String {
        let authority = if url.starts_with("https:") {
            format!("certificate-authority: {}, ", self.ca().display())
        } else {
            String::new()
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{{authority}server: '{url}'}}}}]\n\
             users: [{{name: admin, user: {{token: {token}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]\n",
            token = self.token,
        )
    }

    /// The file of the CA that its certificate comes from.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What a person of the group `system:masters` shows.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Freezes the server: connections stay open, nothing is answered.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Lets a frozen server go on.
    pub fn cont(&mut self) {
        self.server.cont();
    }

    /// Ends the server at once; its data stay.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the server again on the same port, with the same data.
    pub fn restart(&mut self) {
        self.server.kill();
        self.server = start_server(self.folder.path(), &self.port, &self.etcd_port);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        while !self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if let Some(status) = self.server.exited() {
                panic!("kube-apiserver ended ({status}): {}", self.server.output());
            }
            assert!(Instant::now() < end, "kube-apiserver did not start: {}", self.server.output());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The answer to one request, as it comes.
    fn get(&self, path: &str) -> std::io::Result<String> {
        let failed = |error| std::io::Error::other(format!("{error}"));
        let mut roots = RootCertStore::empty();
        let pem = fs::read(self.ca())?;
        use rustls::pki_types::pem::PemObject;
        for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(std::io::Error::other)?).map_err(failed)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").expect("an address is a name");
        let mut tls = rustls::ClientConnection::new(Arc::new(config), name).map_err(failed)?;
        let mut tcp = TcpStream::connect_timeout(&self.port.address(), Duration::from_secs(2))?;
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        let token = &self.token;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        // It may end without a goodbye.
        let _ = stream.read_to_string(&mut answer);
        Ok(answer)
    }
}

fn start_etcd(folder: &Path, port: &Port, peer: &Port) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // The data live as long as the test.
        .args(["--unsafe-no-fsync=true", "--log-level=warn", "--quota-backend-bytes=1073741824"]);
    Child::start_with_output(&command, &folder.join("etcd.log"))
}

fn start_server(folder: &Path, port: &Port, etcd: &Port) -> Child {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new("kube-apiserver");
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
        .arg(format!("--secure-port={port}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--cert-dir={}", path("certificates")))
        .arg(format!("--tls-cert-file={}", path("server.pem")))
        .arg(format!("--tls-private-key-file={}", path("server.key")))
        .arg(format!("--token-auth-file={}", path("tokens.csv")))
        .arg(format!("--service-account-key-file={}", path("server.pem")))
        .arg(format!("--service-account-signing-key-file={}", path("server.key")))
        .arg(format!("--service-account-issuer=https://127.0.0.1:{port}"))
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/16"])
        // There is no controller that makes service accounts, and no endpoint of this server to be kept.
        .args(["--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none"])
        .args(["--enable-priority-and-fairness=false", "--max-requests-inflight=2000", "--v=0"]);
    Child::start_with_output(&command, &folder.join("kube-apiserver.log"))
}

fn make_certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    write(&folder.join("ca.pem"), &ca.pem());
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate =
        CertificateParams::new(names).expect("names").signed_by(&key, &ca).expect("a certificate");
    write(&folder.join("server.pem"), &certificate.pem());
    write(&folder.join("server.key"), &key.serialize_pem());
}
