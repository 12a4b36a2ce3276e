//! A real name server for tests: BIND, with a zone that can be updated.

use crate::{port::Port, process::Child, region::DOMAIN};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Maximum time to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A zone that can be updated, as the one of [`DOMAIN`] can. Every name in both leads to 127.0.0.1, and that of
/// `_acme-challenge.alias` to another one.
pub const ZONE: &str = "example.test";

/// The name of the key that may update it.
pub const KEY_NAME: &str = "adit";

/// A zone that the server cannot load: it answers SERVFAIL.
pub const BROKEN_ZONE: &str = "broken.test";

/// A name server on a port of its own.
#[derive(Debug)]
pub struct Bind {
    _server: Child,
    port: Port,
    key: String,
    _folder: TempDir,
}

impl Bind {
    /// Starts one, and waits until it answers.
    ///
    /// Panics when BIND is not installed or does not start.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("adit-bind-").tempdir().expect("a folder can be made");
        let port = Port::take();
        let key = BASE64_STANDARD.encode((0..32).map(|_| rand::random::<u8>()).collect::<Vec<_>>());
        let directory = folder.path();
        let mut zones = String::new();
        for zone in [ZONE, DOMAIN] {
            let records = format!(
                "$TTL 5\n@ SOA ns.{zone}. root.{zone}. 1 3600 600 86400 5\n@ NS ns.{zone}.\n@ A 127.0.0.1\n\
                 ns A 127.0.0.1\n*  A 127.0.0.1\n_acme-challenge.alias CNAME proofs.delegated\n"
            );
            write(&directory.join(zone), &records);
            zones.push_str(&format!(
                "zone \"{zone}\" {{ type primary; file \"{zone}\"; allow-update {{ key \"{KEY_NAME}\"; }}; }};\n"
            ));
        }
        write(
            &directory.join("named.conf"),
            &format!(
                "options {{ directory \"{folder}\"; pid-file none; session-keyfile none; recursion no; \
                   listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; dnssec-validation no; \
                   notify no; minimal-responses yes; }};\n\
                 controls {{ }};\n\
                 key \"{KEY_NAME}\" {{ algorithm hmac-sha256; secret \"{key}\"; }};\n\
                 {zones}\
                 zone \"{BROKEN_ZONE}\" {{ type secondary; file \"none\"; primaries {{ 127.0.0.1 port 1; }}; }};\n",
                folder = directory.display(),
            ),
        );
        let mut command = Command::new(program());
        command.args(["-g", "-n", "1", "-c"]).arg(directory.join("named.conf"));
        let mut server = Child::start(&command);
        let end = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(port.address()).is_err() {
            assert!(server.is_running() && Instant::now() < end, "named does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        server.wait_for_line("running", START_TIMEOUT);
        Self { _server: server, port, key, _folder: folder }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// The key that may update the zone, in base64.
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file can be written");
}

/// Debian keeps `named` where a user's PATH need not lead.
fn program() -> PathBuf {
    let usual = Path::new("/usr/sbin/named");
    if usual.exists() { usual.to_owned() } else { PathBuf::from("named") }
}
