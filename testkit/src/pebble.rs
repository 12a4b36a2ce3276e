//! A real CA for tests: Pebble, which forgets everything when it ends.

use crate::{
    port::Port,
    process::{Child, is_installed},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// Maximum time to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of a Pebble.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// Percentage of valid nonces that are refused.
    pub bad_nonces: u8,
    /// The port that http-01 challenges are fetched from.
    pub http_port: u16,
    /// The port that tls-alpn-01 challenges are checked at.
    pub tls_port: u16,
    /// Its name server: `127.0.0.1:PORT`.
    pub resolver: String,
    /// Validity of certificates of the profile `short`, in seconds.
    pub short_seconds: u64,
    /// Key id and key (base64url) of the external account that it requires.
    pub binding: Option<(String, String)>,
}

/// A Pebble on a port of its own.
#[derive(Debug)]
pub struct Pebble {
    server: Child,
    port: Port,
    management: Port,
    folder: TempDir,
    options: PebbleOptions,
}

impl PebbleOptions {
    /// Refuses nothing, and resolves names by this name server.
    pub fn with_resolver(resolver: impl Into<String>) -> Self {
        let (bad_nonces, short_seconds) = (0, 518_400);
        Self {
            bad_nonces,
            http_port: 80,
            tls_port: 443,
            resolver: resolver.into(),
            short_seconds,
            binding: None,
        }
    }
}

impl Pebble {
    /// Starts one, and waits until it answers.
    ///
    /// Panics when Pebble is not installed or does not start.
    pub fn start(options: PebbleOptions) -> Self {
        assert!(is_installed("pebble"), "pebble is not installed: make test builds it");
        let folder = tempfile::Builder::new().prefix("adit-pebble-").tempdir().expect("a folder can be made");
        let (port, management) = (Port::take(), Port::take());
        make_certificate(&folder);
        let binding = options.binding.as_ref();
        let keys: serde_json::Map<String, Value> =
            binding.map(|(id, key)| (id.clone(), json!(key))).into_iter().collect();
        let config = json!({ "pebble": {
            "listenAddress": port.address().to_string(),
            "managementListenAddress": management.address().to_string(),
            "certificate": folder.path().join("server.pem"),
            "privateKey": folder.path().join("server.key"),
            "httpPort": options.http_port,
            "tlsPort": options.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": binding.is_some(),
            "externalAccountMACKeys": keys,
            "domainBlocklist": ["blocked.test"],
            "retryAfter": { "authz": 1, "order": 1 },
            "keyAlgorithm": "ecdsa",
            "profiles": {
                "default": { "description": "ninety days", "validityPeriod": 7_776_000 },
                "short": { "description": "short", "validityPeriod": options.short_seconds },
            },
        } });
        fs::write(folder.path().join("pebble.json"), config.to_string()).expect("a file can be written");
        let server = spawn(&folder, &options);
        let mut pebble = Self { server, port, management, folder, options };
        pebble.wait_ready();
        pebble
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The file of the CA that has signed its own server's certificate (PEM).
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The same as text.
    pub fn ca_text(&self) -> String {
        fs::read_to_string(self.ca()).expect("the file is there")
    }

    /// What servers take TLS connections with that have its own server's certificate, which [`Pebble::ca`] has signed.
    pub fn acceptor(&self) -> TlsAcceptor {
        let read = |file: &str| fs::read(self.folder.path().join(file)).expect("the file is there");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = CertificateDer::pem_slice_iter(&read("server.pem")).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.expect("certificates"), key);
        TlsAcceptor::from(Arc::new(config.expect("they fit")))
    }

    /// The root that it signs with (PEM), which is another one each time that it starts.
    ///
    /// Panics when it does not answer.
    pub fn root(&self) -> String {
        let url = format!("https://{}/roots/0", self.management.address());
        let output = Command::new("curl").args(["-sSk"]).arg(url).output();
        let output = output.expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("PEM is text")
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        self.server.output()
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Lets a frozen one go on.
    pub fn cont(&mut self) {
        self.server.cont();
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again; it has forgotten everything.
    pub fn restart(&mut self) {
        self.kill();
        self.server = spawn(&self.folder, &self.options);
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.port.address()).is_err() {
            assert!(self.server.is_running() && Instant::now() < end, "pebble does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn spawn(folder: &TempDir, options: &PebbleOptions) -> Child {
    let mut command = Command::new("pebble");
    command.arg("-config").arg(folder.path().join("pebble.json"));
    command.args(["-dnsserver", &options.resolver]);
    command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
    command.env("PEBBLE_WFE_NONCEREJECT", options.bad_nonces.to_string());
    Child::start(&command)
}

/// The certificate of a CA's own server for these names, and of who has signed it: contents of `ca.pem`, `server.pem` and
/// `server.key`.
pub fn server_certificate(names: Vec<String>) -> [(&'static str, String); 3] {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(names).expect("names").signed_by(&key, &ca).expect("a certificate");
    [("ca.pem", ca.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())]
}

fn make_certificate(folder: &TempDir) {
    for (file, text) in server_certificate(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]) {
        fs::write(folder.path().join(file), text).expect("a file can be written");
    }
}
