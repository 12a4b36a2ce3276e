//! Validation: from a relay.yaml that fits the schema to a [`Config`]. Checks rules between fields, and the files that they name.

mod acme;
mod rules;

use super::{
    AccessLog, AccessLogPath, CertificateFiles, Config, Keys, Listen, Log, PairError, Peer, files, format,
    origins::VariableOrigins, raw::*,
};
use adit_config::{Access, Invalid, Path as Field, Problem, Tokens, duration, problem::quoted};
use adit_protocol::hello::Provider;
use adit_store::StoreUrl;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Maximum length of a Unix socket's path on Linux, without the final zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The outcome of a validation. Without a configuration there is at least one problem, here or among the earlier ones.
pub(super) struct Validation {
    pub(super) config: Option<Config>,
    pub(super) problems: Vec<Problem>,
    /// The files that this user may not read; empty unless `tolerant`.
    pub(super) unchecked: Vec<PathBuf>,
}

/// Makes a [`Config`] of a relay.yaml that fits the schema. `tolerant`: a file that this user may not read is no problem.
pub(super) fn validate(
    raw: RawConfig,
    base: &Path,
    set: &VariableOrigins,
    earlier: &[Problem],
    tolerant: bool,
) -> Validation {
    let mut check = Validator { base, set, earlier, problems: Vec::new(), tolerant, unchecked: Vec::new() };
    let config = check.config(raw);
    Validation { config, problems: check.problems, unchecked: check.unchecked }
}

struct Validator<'a> {
    /// The directory of the file.
    base: &'a Path,
    set: &'a VariableOrigins,
    /// Earlier problems: rules that need those fields are not checked.
    earlier: &'a [Problem],
    problems: Vec<Problem>,
    /// Whether a file that this user may not read is left unchecked instead of being a problem.
    tolerant: bool,
    unchecked: Vec<PathBuf>,
}

impl Validator<'_> {
    fn config(&mut self, raw: RawConfig) -> Option<Config> {
        let data_dir = self.path("dataDir", &raw.data_dir);
        if data_dir.exists() && !data_dir.is_dir() {
            self.problem("dataDir", format!("{} is not a directory", shown(&data_dir)));
        }
        let listen = self.listen(&raw.listen, &data_dir);
        let registry = self.text("registry", format::registry(&raw.registry));
        let store = self.store(raw.store.as_deref(), &data_dir);
        self.within("limits", raw.limits.problems());
        self.within("tcpPorts", raw.tcp_ports.iter().flat_map(adit_config::TcpPorts::problems));
        if raw.drain_timeout > Duration::from_secs(3600) {
            self.problem("drainTimeout", format!("{} is more than 1h", duration::display(raw.drain_timeout)));
        }
        let access = self.access(raw.access);
        let peer = raw.peer.map(|peer| self.peer(peer));
        let keys = raw.keys.map(|keys| self.keys(&keys));
        let certificates = self.certificates(&raw.tls.certificates);
        let acme = raw.tls.acme.map(|acme| self.acme(acme, &raw.domain));
        let trusted_proxies =
            raw.proxy_protocol.trusted_cidrs.iter().map(|text| format::cidr(text)).collect();
        let trusted_proxies = self.text("proxyProtocol.trustedCIDRs", trusted_proxies);
        let name = self.text("name", raw.name.as_deref().map(format::relay_id).transpose());
        let access_log = self.access_log(&raw.access_log);
        if let Some(listen) = &listen {
            self.check_overlaps(listen, raw.tcp_ports);
        }
        self.check_contradictions(
            listen.as_ref(),
            raw.plain_http,
            registry.as_ref(),
            store.as_ref(),
            (&peer, &keys),
        );
        let listen = listen?;
        Some(Config {
            source: None,
            name: name?,
            domain: raw.domain.into(),
            data_dir,
            public_port: raw.public_port.unwrap_or_else(|| listen.https.first().map_or(0, SocketAddr::port)),
            plain_http: raw.plain_http,
            listen,
            tcp_ports: raw.tcp_ports,
            registry: registry?,
            store: store?,
            provider: Provider {
                name: raw.provider.name.unwrap_or_default(),
                abuse: raw.provider.abuse.unwrap_or_default(),
            },
            access,
            limits: raw.limits,
            peer,
            keys,
            trusted_proxies: trusted_proxies?,
            certificates,
            acme: acme.map_or(Some(None), |acme| acme.map(Some))?,
            drain_timeout: raw.drain_timeout,
            lanes: raw.lanes.map(usize::from),
            connections: raw.connections.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            log: Log { format: raw.log.format, level: raw.log.level },
            access_log,
        })
    }

    fn problem(&mut self, field: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(Field::keys(field), text));
    }

    fn within(&mut self, section: &'static str, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems.into_iter().map(|problem| problem.within(section)));
    }

    /// Whether none of these fields has a problem.
    fn is_sound(&self, fields: &[&str]) -> bool {
        let mut known = self.earlier.iter().chain(&self.problems);
        !known.any(|problem| fields.iter().any(|field| problem.path.touches(&Field::keys(field))))
    }

    /// The value of a text. The schema's format was checked before, so that no error should be left.
    fn text<T>(&mut self, field: &str, read: Result<T, Invalid>) -> Option<T> {
        read.map_err(|rule| self.problem(field, rule.to_string())).ok()
    }

    /// A path where the relay finds it.
    fn path(&self, field: &str, path: &Path) -> PathBuf {
        self.path_at(&Field::keys(field), path)
    }

    fn path_at(&self, field: &Field, path: &Path) -> PathBuf {
        if self.set.variable_of(field).is_some() { path.to_owned() } else { self.base.join(path) }
    }

    /// The path of a file that has to be there.
    fn file(&mut self, field: Field, path: &Path) -> PathBuf {
        let path = self.path_at(&field, path);
        if let Err(error) = files::open(&path) {
            self.unreadable(field, &path, &error);
        }
        path
    }

    /// Notes a file that cannot be read.
    fn unreadable(&mut self, field: Field, path: &Path, error: &io::Error) {
        if self.tolerant && error.kind() == io::ErrorKind::PermissionDenied {
            self.unchecked.push(path.to_owned());
        } else {
            self.problems.push(Problem::new(field, format!("{} cannot be read: {error}", shown(path))));
        }
    }

    /// Notes why a certificate or its key cannot be used.
    fn unusable(&mut self, section: &Field, (cert, key): (&Path, &Path), error: PairError) {
        let (cert_field, key_field) = (section.join("cert"), section.join("key"));
        match error {
            PairError::Cert(error) => self.unreadable(cert_field, cert, &error),
            PairError::Key(error) => self.unreadable(key_field, key, &error),
            PairError::NoCertificate | PairError::DerCertificate => {
                self.problems.push(Problem::new(cert_field, format!("{} {error}", shown(cert))));
            }
            PairError::NoKey | PairError::DerKey => {
                self.problems.push(Problem::new(key_field, format!("{} {error}", shown(key))));
            }
            PairError::Mismatch => {
                let text = format!("{} {error} {}", shown(key), shown(cert));
                self.problems.push(Problem::new(key_field, text));
            }
        }
    }

    fn store(&mut self, store: Option<&str>, data_dir: &Path) -> Option<StoreUrl> {
        match store {
            None => Some(StoreUrl::Sqlite(data_dir.join("adit.db"))),
            Some(text) => match self.text("store", format::store(text))? {
                StoreUrl::Sqlite(path) => Some(StoreUrl::Sqlite(self.path("store", &path))),
                postgres @ StoreUrl::Postgres(_) => Some(postgres),
            },
        }
    }

    fn listen(&mut self, raw: &RawListen, data_dir: &Path) -> Option<Listen> {
        let https = raw.https.texts().iter().map(|text| format::listen(text)).collect();
        let https = self.text("listen.https", https);
        let http = match raw.http.texts() {
            [off] if off == format::OFF => Some(None),
            texts if texts.iter().any(|text| text == format::OFF) => {
                self.problem("listen.http", "has \"off\" beside addresses: give one or the other");
                None
            }
            texts => {
                self.text("listen.http", texts.iter().map(|text| format::listen(text)).collect()).map(Some)
            }
        };
        let ops = (raw.ops != format::OFF).then(|| format::listen(&raw.ops)).transpose();
        let ops = self.text("listen.ops", ops);
        let peer = self.text("listen.peer", raw.peer.as_deref().map(format::listen).transpose());
        let admin = match &raw.admin {
            Some(path) if path == Path::new(format::OFF) => None,
            Some(path) => Some(self.path("listen.admin", path)),
            None => Some(data_dir.join("admin.sock")),
        };
        if let Some(path) = admin.as_ref().filter(|path| path.as_os_str().len() > MAX_SOCKET_PATH_BYTES) {
            let rule =
                "has more than 107 bytes, which is too long for a Unix socket: give a shorter path or off";
            self.problem("listen.admin", format!("{} {rule}", shown(path)));
        }
        Some(Listen { https: https?, http: http?, ops: ops?, peer: peer?, admin })
    }

    fn access(&mut self, mut access: Access) -> Access {
        self.within("access", access.problems());
        if let Tokens::Issuers(issuers) = &mut access.tokens {
            for (index, issuer) in issuers.iter_mut().enumerate() {
                let field = Field::keys("access.tokens.issuers").join(index).join("keys");
                issuer.keys = self.file(field, &issuer.keys);
            }
        }
        access
    }

    fn keys(&mut self, raw: &RawKeys) -> Keys {
        Keys {
            region: self.file(Field::keys("keys.region"), &raw.region),
            tokens: self.file(Field::keys("keys.tokens"), &raw.tokens),
        }
    }

    fn peer(&mut self, raw: RawPeer) -> Peer {
        let ca = self.path("peer.ca", &raw.ca);
        match files::load_certificates(&ca) {
            Ok(_) => {}
            Err(PairError::Cert(error)) => self.unreadable(Field::keys("peer.ca"), &ca, &error),
            Err(error) => self.problem("peer.ca", format!("{} {error}", shown(&ca))),
        }
        let CertificateFiles { cert, key } = self.pair(&Field::keys("peer"), &raw.cert, &raw.key);
        Peer { advertise: raw.advertise, ca, cert, key }
    }

    fn certificates(&mut self, raw: &[RawCertificate]) -> Vec<CertificateFiles> {
        let field = Field::keys("tls.certificates");
        raw.iter()
            .enumerate()
            .map(|(index, raw)| self.pair(&field.join(index), &raw.cert, &raw.key))
            .collect()
    }

    fn pair(&mut self, section: &Field, cert: &Path, key: &Path) -> CertificateFiles {
        let (cert_field, key_field) = (section.join("cert"), section.join("key"));
        let (cert, key) = (self.path_at(&cert_field, cert), self.path_at(&key_field, key));
        if let Err(error) = files::load_pair(&cert, &key) {
            let key_is_unknown =
                matches!(error, PairError::Cert(_) | PairError::NoCertificate | PairError::DerCertificate);
            self.unusable(section, (&cert, &key), error);
            if let (true, Err(error)) = (key_is_unknown, files::load_key(&key)) {
                self.unusable(section, (&cert, &key), error);
            }
        }
        CertificateFiles { cert, key }
    }

    fn access_log(&self, raw: &RawAccessLog) -> AccessLog {
        let path = match raw.path.to_str() {
            Some("-") => AccessLogPath::Stdout,
            Some(format::OFF) => AccessLogPath::Off,
            _ => AccessLogPath::File(self.path("accessLog.path", &raw.path)),
        };
        AccessLog { format: raw.format, path }
    }
}

fn shown(path: &Path) -> String {
    quoted(&path.display().to_string())
}
