//! The sections of relay.yaml that a Region does not have.

use super::RawAcme;
use crate::config::format;
use adit_config::{
    PATH_FORMAT,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One text or several.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(in crate::config) fn texts(&self) -> &[String] {
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
pub(in crate::config) struct RawListen {
    /// HTTPS for consumers and clients: one address or a list.
    #[schemars(schema_with = "listen_addresses")]
    pub(in crate::config) https: OneOrMany,
    /// Plain HTTP: one address, a list, or `off`.
    #[schemars(schema_with = "listen_addresses_or_off")]
    pub(in crate::config) http: OneOrMany,
    /// `/livez`, `/readyz` and `/metrics`: an address that consumers cannot reach, or `off`.
    #[schemars(extend("format" = format::LISTEN_OR_OFF))]
    pub(in crate::config) ops: String,
    /// Links from the region's other relays; with `peer`. Absent: none.
    #[schemars(with = "Option<String>", extend("format" = format::LISTEN))]
    pub(in crate::config) peer: Option<String>,
    /// The Unix socket of the admin API, or `off`. Absent: `admin.sock` in `dataDir`.
    #[schemars(with = "Option<String>", extend("format" = PATH_FORMAT))]
    pub(in crate::config) admin: Option<PathBuf>,
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
pub(in crate::config) struct RawProvider {
    /// The provider's name, at most 100 characters.
    #[schemars(with = "Option<String>", length(min = 1, max = 100))]
    pub(in crate::config) name: Option<String>,
    /// Where to write about abuse: an e-mail address.
    #[schemars(with = "Option<String>", extend("format" = format::EMAIL))]
    pub(in crate::config) abuse: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawPeer {
    /// Where the other relays reach this one's `listen.peer`: host and port.
    #[schemars(extend("format" = format::HOST_PORT))]
    pub(in crate::config) advertise: String,
    /// The file of the CA that signs the relays' certificates (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) ca: PathBuf,
    /// The file of this relay's certificate chain (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) cert: PathBuf,
    /// The file of its private key (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) key: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawKeys {
    /// The file of the key that seals credentials and tickets: 32 random bytes in base64.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) region: PathBuf,
    /// The file of the key that signs the provider's own tokens: Ed25519, PKCS#8 in PEM.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) tokens: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::config) struct RawProxyProtocol {
    /// The networks of the load balancers, 64 at most, like `10.0.0.0/8`. Connections from there must begin with a PROXY
    /// protocol header, and its address is believed.
    #[serde(rename = "trustedCIDRs")]
    #[schemars(schema_with = "networks")]
    pub(in crate::config) trusted_cidrs: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::config) struct RawTls {
    /// Certificates, 100 at most; the first whose names fit is served. Empty: a development CA in `dataDir` issues one for
    /// the domain and its wildcard.
    #[schemars(length(max = 100))]
    pub(in crate::config) certificates: Vec<RawCertificate>,
    /// A certificate that the relay itself gets from a CA by ACME (RFC 8555), and renews. It goes before `certificates`, which
    /// are served until it is there.
    pub(in crate::config) acme: Option<RawAcme>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawCertificate {
    /// The file of the certificate chain (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) cert: PathBuf,
    /// The file of its private key (PEM).
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) key: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::config) struct RawLog {
    /// How lines are written.
    pub(in crate::config) format: LogFormat,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, or directives like `info,adit_relay=debug`. `ADIT_LOG` is short
    /// for its variable.
    #[schemars(extend("format" = format::LOG_LEVEL))]
    pub(in crate::config) level: String,
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
pub(in crate::config) struct RawAccessLog {
    /// How lines are written.
    pub(in crate::config) format: AccessLogFormat,
    /// A file, `-` for stdout, or `off`.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) path: PathBuf,
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
    /// The combined log format of Apache and nginx, with the request id at the end.
    Combined,
}
