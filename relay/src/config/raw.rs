//! relay.yaml as it is written. The schema of these types is the source of its rules and of its documentation.

mod acme;
mod sections;

pub(super) use acme::{Challenge, RawAcme, RawDns, RawExternalAccount};
pub use sections::{AccessLogFormat, LogFormat};
pub(super) use sections::{
    RawAccessLog, RawCertificate, RawKeys, RawListen, RawLog, RawPeer, RawProvider, RawProxyProtocol, RawTls,
};

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
    /// How many connections consumers may have open at once; beyond it they get 503 `overloaded`. Absent: three quarters
    /// of the file descriptors that the process may have.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) connections: Option<u32>,
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
