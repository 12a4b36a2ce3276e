//! relay.yaml as it is written. The schema of these types is the source of its rules and of its documentation.

use super::format;
use adit_config::{
    Access, DnsName, Limits, PATH_FORMAT, TcpPorts, duration,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// The configuration of one relay.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawConfig {
    /// The relay's name, unique in its region: 1 to 64 of a-z, 0-9, `-` and `_`. Absent: the host's name and some random
    /// letters.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = format::RELAY_ID))]
    pub(super) name: Option<String>,
    /// The region's domain: tunnels are `<name>.<domain>`. It and its wildcard point to the relays in DNS; names under
    /// `localhost` need no DNS.
    pub(super) domain: DnsName,
    /// Where the relay keeps what it makes itself: keys, the development CA, the SQLite file.
    #[serde(default = "default::data_dir")]
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) data_dir: PathBuf,
    /// The port in public URLs, if a load balancer has another one than `listen.https`. Absent: that one.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub(super) public_port: Option<u16>,
    /// What plain HTTP gets.
    #[serde(default)]
    pub(super) plain_http: PlainHttp,
    /// Addresses and ports. `:443` stands for port 443 of all addresses; port 0 takes a free one.
    #[serde(default)]
    pub(super) listen: RawListen,
    /// The public ports for tunnels of the kind `tcp`. Absent: there are no such tunnels.
    #[serde(default)]
    pub(super) tcp_ports: Option<TcpPorts>,
    /// Who serves an endpoint now: `memory:` for a region of one relay, else `redis://` or `rediss://` with host, port
    /// and database. `ADIT_REGISTRY` keeps a password out of the file.
    #[serde(default = "default::registry")]
    #[schemars(extend("format" = format::REGISTRY, "writeOnly" = true))]
    pub(super) registry: String,
    /// What must not be lost: `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`. Absent: `adit.db` in `dataDir`.
    /// `ADIT_STORE` keeps a password out of the file.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = format::STORE, "writeOnly" = true))]
    pub(super) store: Option<String>,
    /// Who runs the relay, for error pages and messages.
    #[serde(default)]
    pub(super) provider: RawProvider,
    /// Who may open tunnels.
    #[serde(default)]
    pub(super) access: Access,
    /// What one account may use. A token can carry limits of its own.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Links to the region's other relays, by mutual TLS; with `listen.peer`.
    #[serde(default)]
    pub(super) peer: Option<RawPeer>,
    /// The files of the keys that all relays of a region share. Absent: they are made in `dataDir`.
    #[serde(default)]
    pub(super) keys: Option<RawKeys>,
    /// The PROXY protocol (v1 and v2) of a load balancer.
    #[serde(default)]
    pub(super) proxy_protocol: RawProxyProtocol,
    /// Certificates for consumers and clients.
    #[serde(default)]
    pub(super) tls: RawTls,
    /// How long a draining relay waits for work in flight, 0s to 1h.
    #[serde(default = "default::drain_timeout", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub(super) drain_timeout: Duration,
    /// How many threads serve. Absent: one a core.
    #[serde(default)]
    #[schemars(range(min = 1, max = 256))]
    pub(super) lanes: Option<u16>,
    /// The log, on stderr.
    #[serde(default)]
    pub(super) log: RawLog,
    /// One line for each request and connection of a consumer.
    #[serde(default)]
    pub(super) access_log: RawAccessLog,
}

/// What the plain HTTP listener does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PlainHttp {
    /// Every request is redirected to HTTPS.
    #[default]
    Redirect,
    /// Requests are served as those by HTTPS are.
    Serve,
}

/// One text or several.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

fn one_or_many(format: &str) -> schemars::Schema {
    let one = serde_json::json!({ "type": "string", "format": format });
    schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 16 }] })
}

fn listen_addresses(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    one_or_many(format::LISTEN)
}

fn listen_addresses_or_off(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    one_or_many(format::LISTEN_OR_OFF)
}

fn networks(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let one = serde_json::json!({ "type": "string", "format": format::CIDR });
    schemars::json_schema!({ "type": "array", "items": one, "maxItems": 64 })
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawListen {
    /// HTTPS for consumers and clients: one address or a list.
    #[schemars(schema_with = "listen_addresses")]
    pub(super) https: OneOrMany,
    /// Plain HTTP: one address, a list, or `off`.
    #[schemars(schema_with = "listen_addresses_or_off")]
    pub(super) http: OneOrMany,
    /// `/livez`, `/readyz` and `/metrics`: an address that consumers cannot reach, or `off`.
    #[schemars(extend("format" = format::LISTEN_OR_OFF))]
    pub(super) ops: String,
    /// Links from the region's other relays; with `peer`. Absent: none.
    #[schemars(with = "Option<String>", extend("format" = format::LISTEN))]
    pub(super) peer: Option<String>,
    /// The Unix socket of the admin API, or `off`. Absent: `admin.sock` in `dataDir`.
    #[schemars(with = "Option<String>", extend("format" = PATH_FORMAT))]
    pub(super) admin: Option<PathBuf>,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            https: OneOrMany::One(":8443".to_owned()),
            http: OneOrMany::One(":8080".to_owned()),
            ops: "127.0.0.1:9090".to_owned(),
            peer: None,
            admin: None,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawProvider {
    /// The provider's name, at most 100 characters.
    #[schemars(with = "Option<String>", length(min = 1, max = 100))]
    pub(super) name: Option<String>,
    /// Where to write about abuse: an e-mail address.
    #[schemars(with = "Option<String>", extend("format" = format::EMAIL))]
    pub(super) abuse: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPeer {
    /// Where the other relays reach this one's `listen.peer`: host and port.
    #[schemars(extend("format" = format::HOST_PORT))]
    pub(super) advertise: String,
    /// The file of the CA that signs the relays' certificates (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) ca: PathBuf,
    /// The file of this relay's certificate chain (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) cert: PathBuf,
    /// The file of its private key (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) key: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawKeys {
    /// The file of the key that seals credentials and tickets: 32 random bytes in base64.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) region: PathBuf,
    /// The file of the key that signs the provider's own tokens: Ed25519, PKCS#8 in PEM.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) tokens: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawProxyProtocol {
    /// The networks of the load balancers, 64 at most, like `10.0.0.0/8`. Connections from there must begin with a PROXY
    /// protocol header, and its address is believed.
    #[serde(rename = "trustedCIDRs")]
    #[schemars(schema_with = "networks")]
    pub(super) trusted_cidrs: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawTls {
    /// Certificates, 100 at most; the first whose names fit is served. Empty: a development CA in `dataDir` issues one for
    /// the domain and its wildcard.
    #[schemars(length(max = 100))]
    pub(super) certificates: Vec<RawCertificate>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawCertificate {
    /// The file of the certificate chain (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) cert: PathBuf,
    /// The file of its private key (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) key: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawLog {
    /// How lines are written.
    pub(super) format: LogFormat,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, or directives like `info,adit_relay=debug`. `ADIT_LOG` is short
    /// for its variable.
    #[schemars(extend("format" = format::LOG_LEVEL))]
    pub(super) level: String,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// How the lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawAccessLog {
    /// How lines are written.
    pub(super) format: AccessLogFormat,
    /// A file, `-` for stdout, or `off`.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(super) path: PathBuf,
}

impl Default for RawAccessLog {
    fn default() -> Self {
        Self { format: AccessLogFormat::Combined, path: "-".into() }
    }
}

/// How the lines of the access log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
}

impl RawConfig {
    /// Reads a tree that the schema fits. A domain that is missing is a problem that has been found already.
    pub(super) fn from_tree(mut tree: serde_json::Value) -> Result<Self, serde_json::Error> {
        if let Some(fields) = tree.as_object_mut() {
            fields.entry("domain").or_insert_with(|| "invalid".into());
        }
        serde_json::from_value(tree)
    }
}

mod default {
    use std::{path::PathBuf, time::Duration};

    pub(super) fn data_dir() -> PathBuf {
        "adit-data".into()
    }

    pub(super) fn registry() -> String {
        "memory:".to_owned()
    }

    pub(super) fn drain_timeout() -> Duration {
        Duration::from_secs(30)
    }
}
