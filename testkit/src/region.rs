//! A region of real relays: processes of the program `adit-relay`, each on a loopback address of its own.

use crate::{
    metrics,
    port::{Port, Ports},
    process::Child,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Maximum time for a relay to become ready on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The domain of every test region; names under `localhost` need no DNS.
pub const DOMAIN: &str = "adit.localhost";

/// What the relays of one region share: keys, certificates, back ends.
#[derive(Debug)]
pub struct TestRegion {
    program: PathBuf,
    domain: String,
    folder: TempDir,
    registry: String,
    store: Option<String>,
    stores: Vec<(String, String)>,
    extra: String,
    max_open_files: Option<u32>,
    environment: Vec<(String, String)>,
    tcp: Ports,
}

/// One relay: a process of the program.
#[derive(Debug)]
pub struct RelayProcess {
    /// The process.
    pub child: Child,
    /// Its name in the region.
    pub name: String,
    /// Its configuration.
    pub config: PathBuf,
    https: Port,
    http: Port,
    ops: Port,
    _peer: Port,
    tcp: u16,
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file can be written");
}

/// Readable by its owner alone, as keys have to be.
fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a new file");
    file.write_all(text.as_bytes()).expect("a file can be written");
}

impl TestRegion {
    /// A region whose relays run `program`, alone with memory and SQLite until it is given other back ends.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self::of_domain(program, DOMAIN)
    }

    /// As [`TestRegion::new`], with a domain of its own under `localhost`.
    pub fn of_domain(program: impl Into<PathBuf>, domain: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("adit-region-").tempdir().expect("a folder can be made");
        let region = Self {
            program: program.into(),
            domain: domain.to_owned(),
            folder,
            registry: "memory:".to_owned(),
            store: None,
            stores: vec![],
            extra: String::new(),
            max_open_files: None,
            environment: Vec::new(),
            tcp: Ports::take(8),
        };
        region.make_keys();
        region.make_certificates();
        region
    }

    /// The relays share this Redis.
    #[must_use]
    pub fn registry(mut self, url: impl Into<String>) -> Self {
        self.registry = url.into();
        self
    }

    /// The relays share this Postgres database.
    #[must_use]
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(url.into());
        self
    }

    /// The relay of this name reaches the store by another URL.
    #[must_use]
    pub fn store_of(mut self, relay: &str, url: impl Into<String>) -> Self {
        self.stores.push((relay.to_owned(), url.into()));
        self
    }

    /// More lines of relay.yaml, at its top level.
    #[must_use]
    pub fn with(mut self, yaml: &str) -> Self {
        self.extra.push_str(yaml);
        self.extra.push('\n');
        self
    }

    /// An environment variable of the relays.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Limits the number of files that each relay may have open at once.
    #[must_use]
    pub fn max_open_files(mut self, limit: u32) -> Self {
        self.max_open_files = Some(limit);
        self
    }

    /// Its domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The file of the CA that consumers and clients trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The text of the region's key file.
    pub fn key(&self) -> String {
        fs::read_to_string(self.folder.path().join("region.key")).expect("the file is there")
    }

    /// The public TCP ports of tunnels.
    pub fn tcp_ports(&self) -> std::ops::RangeInclusive<u16> {
        self.tcp.first()..=self.tcp.last()
    }

    fn make_keys(&self) {
        let random: Vec<u8> = (0..32).map(|_| rand::random()).collect();
        write_secret(&self.folder.path().join("region.key"), &BASE64_STANDARD.encode(random));
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key can be made");
        write_secret(&self.folder.path().join("tokens.key"), &key.serialize_pem());
    }

    fn make_certificates(&self) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        write(&self.ca(), &ca.pem());
        let names = [
            ("relay", vec![self.domain.clone(), format!("*.{}", self.domain)]),
            ("peer", vec![format!("peer.{}", self.domain)]),
        ];
        for (file, names) in names {
            let key = KeyPair::generate().expect("a key");
            let certificate = CertificateParams::new(names)
                .expect("DNS names")
                .signed_by(&key, &ca)
                .expect("a certificate");
            write(&self.folder.path().join(format!("{file}.pem")), &certificate.pem());
            write_secret(&self.folder.path().join(format!("{file}.key")), &key.serialize_pem());
        }
    }

    /// Starts a relay and waits until it is ready.
    ///
    /// Panics with the relay's output when it does not become ready.
    pub fn start(&self, name: &str) -> RelayProcess {
        let mut relay = self.spawn(name);
        relay.wait_ready();
        relay
    }

    /// Starts a relay.
    pub fn spawn(&self, name: &str) -> RelayProcess {
        let (https, http, ops, peer) = (Port::take(), Port::take(), Port::take(), Port::take());
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        let config = folder.join("relay.yaml");
        let shared = self.folder.path().display();
        // Each relay has the region's TCP ports, so only one relay can offer them on one address.
        let address = self.loopback_address(name);
        let alone = self.registry == "memory:";
        let peer_listener = if alone { String::new() } else { format!(", peer: '127.0.0.1:{peer}'") };
        let mut yaml = format!(
            "name: {name}\ndomain: {domain}\ndataDir: {data}\nplainHttp: serve\n\
             listen: {{https: '{address}:{https}', http: '{address}:{http}', ops: '127.0.0.1:{ops}'{peer_listener}}}\n\
             keys: {{region: {shared}/region.key, tokens: {shared}/tokens.key}}\n\
             tls: {{certificates: [{{cert: {shared}/relay.pem, key: {shared}/relay.key}}]}}\n\
             tcpPorts: {{first: {first}, last: {last}}}\nregistry: '{registry}'\n",
            domain = self.domain,
            data = folder.display(),
            first = self.tcp.first(),
            last = self.tcp.last(),
            registry = self.registry,
        );
        if !alone {
            writeln!(
                yaml,
                "peer: {{advertise: '127.0.0.1:{peer}', ca: {shared}/ca.pem, cert: {shared}/peer.pem, key: {shared}/peer.key}}"
            )
            .expect("a string takes everything");
        }
        let own = self.stores.iter().find(|(relay, _)| relay == name).map(|(_, url)| url);
        if let Some(store) = own.or(self.store.as_ref()) {
            writeln!(yaml, "store: '{store}'").expect("a string takes everything");
        }
        if !self.extra.contains("accessLog") {
            writeln!(yaml, "accessLog: {{format: json, path: {}/access.log}}", folder.display())
                .expect("a string takes everything");
        }
        yaml.push_str(&self.extra);
        write(&config, &yaml);
        let child = self.run(&config);
        RelayProcess {
            child,
            name: name.to_owned(),
            config,
            https,
            http,
            ops,
            _peer: peer,
            tcp: address_byte(name),
        }
    }

    fn run(&self, config: &Path) -> Child {
        let mut command = match self.max_open_files {
            None => Command::new(&self.program),
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={limit}:{limit}")).arg("--").arg(&self.program);
                command
            }
        };
        command.arg("--config").arg(config);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Child::start_with_output(&command, &config.with_file_name("output"))
    }

    /// Starts a relay again that has ended, on the same ports, and waits until it is ready.
    pub fn restart(&self, relay: &mut RelayProcess) {
        relay.child = self.run(&relay.config);
        relay.wait_ready();
    }

    /// Runs `adit-relay admin` with these arguments against a relay.
    pub fn admin(&self, relay: &RelayProcess, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("admin").args(arguments).arg("--config").arg(&relay.config);
        command.output().expect("the program runs")
    }

    fn loopback_address(&self, name: &str) -> String {
        format!("127.0.0.{}", address_byte(name))
    }

    /// A fresh managed token.
    pub fn token(&self, relay: &RelayProcess, account: &str, more: &[&str]) -> String {
        let output = Command::new(&self.program)
            .args(["token", "--account", account, "--config"])
            .arg(&relay.config)
            .args(more)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a token is text").trim().to_owned()
    }
}

/// The last byte of a relay's address. Relay `a` is on 127.0.0.1, where names under `localhost` lead; `b`, `c` … are on 127.0.0.12, 13 …
fn address_byte(name: &str) -> u16 {
    match name.bytes().next_back().unwrap_or(b'a') & 0x1f {
        1 => 1,
        letter => u16::from(letter) + 10,
    }
}

impl RelayProcess {
    fn ip(&self) -> std::net::Ipv4Addr {
        std::net::Ipv4Addr::new(127, 0, 0, self.tcp as u8)
    }

    /// Where consumers and clients reach it by TLS.
    pub fn https(&self) -> SocketAddr {
        (self.ip(), self.https.number()).into()
    }

    /// Where consumers reach it in clear.
    pub fn http(&self) -> SocketAddr {
        (self.ip(), self.http.number()).into()
    }

    /// Where consumers reach a public TCP port of it.
    pub fn tcp(&self, port: u16) -> SocketAddr {
        (self.ip(), port).into()
    }

    /// Its ops port.
    pub fn ops(&self) -> SocketAddr {
        self.ops.address()
    }

    /// Status and body of the response to a GET at its ops port; `None` while it does not listen.
    pub fn get_ops(&self, path: &str) -> Option<(u16, String)> {
        let mut tcp = TcpStream::connect_timeout(&self.ops(), Duration::from_secs(2)).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(tcp, "GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The sum of one of its metrics, as by [`metrics::sum`]; 0 while the relay does not answer.
    pub fn metric(&self, name: &str) -> u64 {
        self.get_ops("/metrics").map_or(0, |(_, text)| metrics::sum(&text, name))
    }

    /// The lines of its access log so far, as JSON. The last may be up to 100 ms late.
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.config.with_file_name("access.log")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// Panics when that takes too long, or when the process ends.
    pub fn wait_ready(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        while self.get_ops("/readyz").is_none_or(|(status, _)| status != 200) {
            let alive = self.child.is_running();
            assert!(alive && Instant::now() < end, "relay {} is not ready (running: {alive})", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
