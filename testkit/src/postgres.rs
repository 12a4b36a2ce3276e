//! A real PostgreSQL server.
//!
//! Postgres refuses to run as root: then it runs as the system's `postgres` user. Nothing is left behind: a small shell
//! script waits until the test process lets go of it or is gone, ends a server that still runs, and removes its files.

mod replica;

use crate::{
    port::Port,
    process::{Child, Signal, append_to, is_installed, send, spawn},
};
use std::{
    fs,
    io::Write,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Maximum time to start or end a server on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Where Debian has its versions.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Speed before durability: these files never outlive their test. No shared memory outside the server's folder, so that
/// none is left when the server is killed.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "shared_buffers=16MB",
    "max_connections=400",
    "max_wal_size=256MB",
    "dynamic_shared_memory_type=mmap",
    "logging_collector=off",
    "log_min_messages=warning",
];

/// More settings while the server has no standby.
const WITHOUT_STANDBY: &str = "synchronous_commit = off\n";

/// Run with the folder as its argument: ends and removes what is left once standard input is closed.
const CLEANUP_SCRIPT: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
here() { [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }
pid=$(head -n1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && here "$1"; then
    kill -s CONT "$pid"; kill -s QUIT "$pid"
    tries=200; while here "$1" && [ $tries -gt 0 ]; do tries=$((tries - 1)); sleep 0.05; done
    here "$1" && kill -s KILL "$pid"
fi
tries=100; until rm -rf -- "$1" || [ $tries -eq 0 ]; do tries=$((tries - 1)); sleep 0.05; done
"#;

/// Where the server looks for its certificate and key, seen from its folder.
const CERTIFICATE: &str = "data/server.crt";
const KEY: &str = "data/server.key";

/// A server on a port of its own on 127.0.0.1, ended and removed when it is dropped and when the test process is killed.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Child>,
    programs: PathBuf,
    port: Port,
    folder: PathBuf,
    owner: Option<Owner>,
    warden: std::process::Child,
    frozen: Vec<u32>,
}

/// The user that runs the server when the test runs as root.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Starts a server with an empty set of databases. Blocks its thread for about a second.
    ///
    /// Panics when PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        let mut postgres = Self::empty();
        postgres.init();
        postgres.restart();
        postgres
    }

    /// A folder without a server in it.
    fn empty() -> Self {
        let programs = programs();
        let folder =
            tempfile::Builder::new().prefix("adit-postgres-").tempdir().expect("a folder can be made");
        let owner = owner_beside_root(folder.path());
        if let Some(owner) = owner {
            std::os::unix::fs::chown(folder.path(), Some(owner.uid), Some(owner.gid))
                .expect("root may give a folder away");
        }
        let warden = start_warden(folder.path());
        // From here on the warden removes the folder.
        let folder = TempDir::keep(folder);
        Self { server: None, programs, port: Port::take(), folder, owner, warden, frozen: Vec::new() }
    }

    /// One server for all tests of this process. It ends with the process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes an empty database and returns its URL. Blocks its thread.
    pub fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", &["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", &name]);
        self.url(&name)
    }

    /// The URL of a database by its name.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Ends the server in an orderly way; open connections are cut. Its databases stay.
    pub fn stop(&mut self) {
        self.thaw();
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::Int);
            assert!(server.wait(START_TIMEOUT).is_some(), "postgres did not end: {}", server.output());
        }
    }

    /// Starts the server again so that it takes TLS too, with this certificate and its key (PEM).
    pub fn serve_tls(&mut self, certificate: &str, key: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.stop();
        for (name, text) in [(CERTIFICATE, certificate), (KEY, key)] {
            let path = self.folder.join(name);
            fs::write(&path, text).expect("the server's folder can be written to");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                .expect("the file is this process's");
            if let Some(owner) = self.owner {
                std::os::unix::fs::chown(&path, Some(owner.uid), Some(owner.gid))
                    .expect("root may give it away");
            }
        }
        self.restart();
    }

    /// Starts the server again after [`Postgres::stop`], on the same port, and waits until it takes connections.
    pub fn restart(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder.join("data")).arg("-p").arg(self.port.to_string());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if self.folder.join(KEY).exists() {
            command.args(["-c", "ssl=on"]);
        }
        // QUIT, not KILL: a server that is killed leaves a segment of the system's shared memory behind. Where the
        // server runs as another user, the change of user takes this wish back, and the warden alone ends it.
        let mut server = Child::start_with(&command, append_to(&self.folder.join("log")), Signal::Quit);
        let end = Instant::now() + START_TIMEOUT;
        while !self.is_ready() {
            if let Some(status) = server.exited() {
                panic!("postgres ended ({status}): {}", server.output());
            }
            assert!(
                Instant::now() < end,
                "postgres did not start within {START_TIMEOUT:?}: {}",
                server.output()
            );
            thread::sleep(Duration::from_millis(20));
        }
        self.server = Some(server);
    }

    /// Freezes the server and all its processes: connections stay open, nothing is answered.
    pub fn freeze(&mut self) {
        let Some(server) = &mut self.server else { return };
        // The server first: then it starts no further process.
        server.stop();
        let mut all = children_of(server.pid());
        all.push(server.pid());
        for pid in &all {
            send(*pid, Signal::Stop);
        }
        self.frozen = all;
    }

    /// Lets a frozen server go on.
    pub fn thaw(&mut self) {
        for pid in std::mem::take(&mut self.frozen) {
            send(pid, Signal::Cont);
        }
    }

    fn init(&self) {
        let data = self.folder.join("data").to_string_lossy().into_owned();
        self.run(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        );
        let mut file = append_to(&self.folder.join("data/postgresql.conf"));
        file.write_all(WITHOUT_STANDBY.as_bytes()).expect("the server's folder can be written to");
    }

    fn is_ready(&self) -> bool {
        let mut ready = Command::new(self.programs.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
        ready.status().expect("pg_isready can be started").success()
    }

    /// One of Postgres' programs, run by a user whom it accepts.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match self.owner {
            None => Command::new(program),
            Some(owner) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={}", owner.uid), format!("--regid={}", owner.gid)]);
                command.args(["--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(&self.folder);
        command
    }

    /// Gives what the program writes to standard output.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        assert!(
            output.status.success(),
            "{program}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        if let Some(server) = &mut self.server {
            server.signal(Signal::Quit);
            server.wait(START_TIMEOUT);
        }
        // Its end shows what it wrote if the test panics, so it comes before the files go.
        drop(self.server.take());
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}

fn start_warden(folder: &Path) -> std::process::Child {
    let mut warden = Command::new("/bin/sh");
    warden.args(["-c", CLEANUP_SCRIPT, "adit-testkit"]).arg(folder);
    warden.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    spawn(warden).expect("/bin/sh can be started")
}

/// The folder with the newest version of Postgres' programs.
fn programs() -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = versions.filter(|path| path.join("bin/postgres").is_file()).max_by_key(|path| version(path));
    match newest {
        Some(path) => path.join("bin"),
        None if is_installed("postgres") => PathBuf::new(),
        None => {
            panic!("PostgreSQL is not installed: neither in {DEBIAN} nor in PATH is a program 'postgres'")
        }
    }
}

/// The user `postgres`, when a folder that this process made belongs to root.
fn owner_beside_root(made: &Path) -> Option<Owner> {
    if fs::metadata(made).expect("the folder is there").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let fields: Vec<&str> = users.lines().find(|line| line.starts_with("postgres:"))?.split(':').collect();
    Some(Owner { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
}

/// The processes that `parent` has started and that have not ended, as proc(5) shows them.
fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    pids.filter(is_child).collect()
}

#[cfg(test)]
mod tests;
