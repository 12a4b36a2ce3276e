//! The configuration of a relay: relay.yaml and ADIT_* variables, validated before any socket opens.
//!
//! The way is `file` + `environment` → tree → [`adit_config::schema`] → `raw` → `validate` → [`Config`]. Whatever is
//! wrong is collected on the way, so that all of it is reported at once.

mod environment;
mod error;
mod files;
mod format;
mod origins;
mod raw;
mod reference;
mod restart;
mod summary;
mod validate;

pub use adit_config::{Access, Issuer, Limits, Secret, TcpPorts, Tokens, Version};
pub use environment::environment;
pub use error::{ConfigError, ConfigErrors};
pub use files::{PairError, load_certificates, load_pair};
pub use raw::{AccessLogFormat, LogFormat, PlainHttp};
pub use reference::reference;

use adit_config::{
    Path as Field, Problem,
    schema::{self, Checked},
    yaml,
};
use adit_protocol::{RelayId, hello::Provider};
use adit_store::StoreUrl;
use ipnet::IpNet;
use std::{
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// Everything that a relay has to know to start. [`Config::load`] is the only way to one.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, if there was one.
    pub source: Option<PathBuf>,
    /// The relay's name; absent: it makes one of the host's name and some random letters.
    pub name: Option<RelayId>,
    /// The region's domain, in lower case: tunnels are `<name>.<domain>`.
    pub domain: String,
    /// Where the relay keeps what it makes itself: keys, the development CA, the SQLite file. It may not exist yet.
    pub data_dir: PathBuf,
    /// The port that stands in public URLs. 0 only if `listen.https` has port 0: then it is the port that was bound.
    pub public_port: u16,
    /// What the plain HTTP listener does.
    pub plain_http: PlainHttp,
    /// The listeners.
    pub listen: Listen,
    /// The public TCP ports; absent: the kind `tcp` is not offered.
    pub tcp_ports: Option<TcpPorts>,
    /// The registry.
    pub registry: RegistryUrl,
    /// The store.
    pub store: StoreUrl,
    /// Who runs the relay; both fields may be empty.
    pub provider: Provider,
    /// Who may open tunnels. The paths of issuers' keys are resolved.
    pub access: Access,
    /// What one account may use.
    pub limits: Limits,
    /// Links to the region's other relays; present if and only if `listen.peer` is.
    pub peer: Option<Peer>,
    /// The region's keys; absent: they are made in `data_dir`.
    pub keys: Option<Keys>,
    /// The networks whose connections begin with a PROXY protocol header (v1 or v2); empty: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Certificates from files; empty: the development CA in `data_dir` issues one.
    pub certificates: Vec<CertificateFiles>,
    /// A certificate that the relay itself gets from a CA.
    pub acme: Option<Acme>,
    /// How long a draining relay waits for work in flight, 0 s to 1 h.
    pub drain_timeout: Duration,
    /// How many single-threaded runtimes serve, 1 to 256; absent: one a core.
    pub lanes: Option<usize>,
    /// How many connections consumers may have open at once; absent: what the file descriptors allow.
    pub connections: Option<usize>,
    /// The log.
    pub log: Log,
    /// The access log.
    pub access_log: AccessLog,
}

/// The listeners of a relay. The address `[::]` stands for all addresses of both IP versions, as `:443` is written:
/// bind it without `IPV6_V6ONLY`, or `0.0.0.0` where the machine has no IPv6. Port 0 takes a free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// HTTPS, for consumers and clients; at least one.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP; absent: off.
    pub http: Option<Vec<SocketAddr>>,
    /// `/livez`, `/readyz` and `/metrics`; absent: off.
    pub ops: Option<SocketAddr>,
    /// Links from the region's other relays; absent: off.
    pub peer: Option<SocketAddr>,
    /// The admin API's Unix socket; absent: off.
    pub admin: Option<PathBuf>,
}

/// Where the registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryUrl {
    /// In this process: a region of one relay.
    Memory,
    /// In Redis; the URL may hold a password.
    Redis(Secret),
}

/// Links between the relays of a region. All files were read and fit together when the configuration was loaded.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where other relays reach this one's peer listener: `host:port`.
    pub advertise: String,
    /// The CA that signs the relays' certificates (PEM, one or more).
    pub ca: PathBuf,
    /// This relay's certificate chain (PEM).
    pub cert: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// The files of the keys that every relay of a region shares. Both could be read when the configuration was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key that seals credentials and tickets.
    pub region: PathBuf,
    /// The key that signs the provider's own tokens.
    pub tokens: PathBuf,
}

/// A certificate from files. They were read and belong together when the configuration was loaded.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate chain (PEM).
    pub cert: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// A certificate that the relay itself gets from a CA. The files that it names were read.
#[derive(Clone, Debug)]
pub struct Acme {
    /// The names to certify.
    pub names: Vec<String>,
    /// Who issues it.
    pub ca: adit_acme::Ca,
    /// How control over the names is proven.
    pub proof: adit_acme::Proof,
    /// How long before its end it is renewed, in seconds, if the CA suggests no time.
    pub renew_before: Option<u64>,
    /// Who knows names, as host and port; empty: the system's resolvers.
    pub resolvers: Vec<String>,
}

/// The log, which goes to stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// A level, or directives like `info,adit_relay=debug`, as `tracing_subscriber::EnvFilter` reads them.
    pub level: String,
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// How lines are written.
    pub format: AccessLogFormat,
    /// Where to.
    pub path: AccessLogPath,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogPath {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

impl Config {
    /// Reads relay.yaml, where there is one, and the environment, whose variables go before the file.
    ///
    /// Relative paths in the file are relative to its directory, those in variables to the working directory. Files
    /// that the configuration names are opened and checked; nothing is written and no socket is opened.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        read_config(path, environment, false).map(|inspection| inspection.config)
    }

    /// Reads a configuration to look at it, perhaps as another user than the relay's: a file that this user may not read is
    /// left unchecked and returned.
    ///
    /// # Errors
    /// Everything else that is wrong, at once.
    pub fn inspect(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Inspection, ConfigErrors> {
        read_config(path, environment, true)
    }
}

/// A configuration that is looked at and not run.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The configuration. Secrets from files that could not be read are not the real ones.
    pub config: Config,
    /// The files that this user may not read, in the order of the keys that name them.
    pub unchecked: Vec<PathBuf>,
}

fn read_config(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    tolerant: bool,
) -> Result<Inspection, ConfigErrors> {
    let text = match path {
        Some(path) => read(path).map_err(|text| ConfigErrors::of_file(path, &text))?,
        None => String::new(),
    };
    let yaml::Document { root: mut tree, mut problems, .. } = yaml::parse(&text);
    let schema = schema::of::<raw::RawConfig>();
    let (set, mut errors) = environment::apply(&schema, &mut tree, environment);
    let unreadable = problems.iter().any(|problem| problem.path.0.is_empty());
    if !unreadable {
        let Checked { tree, problems: unfit } = schema::check(&schema, &tree, format::check);
        // What could not be read at all stands in the tree as nothing, which need not be said as well.
        let news = |unfit: &Problem| !problems.iter().any(|known| known.path == unfit.path);
        let unfit: Vec<Problem> = unfit.into_iter().filter(news).collect();
        problems.extend(unfit);
        let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
        match tree.map(raw::RawConfig::from_tree) {
            Some(Ok(raw)) => {
                let found = validate::validate(raw, base, &set, &problems, tolerant);
                problems.extend(found.problems);
                if let (Some(config), true) = (found.config, problems.is_empty() && errors.is_empty()) {
                    let config = Config { source: path.map(Path::to_owned), ..config };
                    return Ok(Inspection { config, unchecked: found.unchecked });
                }
            }
            Some(Err(error)) if problems.is_empty() => {
                problems.push(Problem::new(Field::default(), format!("cannot be read: {error}")));
            }
            Some(Err(_)) | None => {}
        }
    }
    yaml::locate(&text, &mut problems);
    errors.extend(problems.iter().map(|problem| ConfigError::of(problem, path, &set)));
    Err(ConfigErrors::new(errors))
}

/// The variables of all keys, and the short form of `ADIT_LOG_LEVEL`.
#[cfg(test)]
pub(crate) fn variables() -> Vec<String> {
    let mut variables = environment::names(&schema::of::<raw::RawConfig>());
    variables.push(environment::LOG_VARIABLE.to_owned());
    variables
}

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut bytes = Vec::new();
    file.take(yaml::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > yaml::MAX_BYTES {
        return Err(format!("has more than {} bytes", yaml::MAX_BYTES));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8 text: byte {} is wrong", error.utf8_error().valid_up_to()))
}

impl FromStr for RegistryUrl {
    type Err = adit_config::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        format::registry(text)
    }
}

#[cfg(test)]
mod tests;
