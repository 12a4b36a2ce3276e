//! The section tls.acme: certificates that the relay itself gets from a CA.

use crate::config::format;
use adit_config::{
    PATH_FORMAT, duration,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

fn names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let one = serde_json::json!({ "type": "string", "format": format::CERTIFIED_NAME });
    schemars::json_schema!({ "type": "array", "items": one, "maxItems": 100 })
}

fn resolvers(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let one = serde_json::json!({ "type": "string", "format": format::HOST_PORT });
    schemars::json_schema!({ "type": "array", "items": one, "maxItems": 8 })
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawAcme {
    /// The URL of the CA's directory.
    #[schemars(extend("format" = format::HTTPS_URL))]
    pub(in crate::config) server: String,
    /// Where the CA writes to: an e-mail address.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = format::EMAIL))]
    pub(in crate::config) email: Option<String>,
    /// The names to certify, wildcards too with dns01. Absent: the domain with `connect` below it; with dns01 the domain
    /// and its wildcard, which is every tunnel.
    #[serde(default)]
    #[schemars(schema_with = "names")]
    pub(in crate::config) names: Vec<String>,
    /// How control over the names is proven. http01 and tlsAlpn01 need the CA to reach ports 80 and 443 of the relay.
    #[serde(default)]
    pub(in crate::config) challenge: Challenge,
    /// The name server that takes DNS updates (RFC 2136); with dns01.
    #[serde(default)]
    pub(in crate::config) dns: Option<RawDns>,
    /// The CA's profile, for example shortlived.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(min = 1, max = 64))]
    pub(in crate::config) profile: Option<String>,
    /// How long before its end the certificate is renewed, if the CA suggests no time. Absent: a third of its life.
    #[serde(default)]
    #[schemars(with = "Option<duration::Text>")]
    pub(in crate::config) renew_before: Option<RenewBefore>,
    /// The file of the CAs that the server's own certificate may come from (PEM). Absent: those that the system trusts.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = PATH_FORMAT))]
    pub(in crate::config) ca_bundle: Option<PathBuf>,
    /// An account that the CA knows already (RFC 8555 section 7.3.4).
    #[serde(default)]
    pub(in crate::config) external_account: Option<RawExternalAccount>,
    /// Who knows names, 8 at most: host and port. Absent: the system's resolvers.
    #[serde(default)]
    #[schemars(schema_with = "resolvers")]
    pub(in crate::config) resolvers: Vec<String>,
}

/// A duration that need not be there.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::config) struct RenewBefore(#[serde(with = "duration")] pub(in crate::config) Duration);

/// How control over names is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::config) enum Challenge {
    /// By an answer on port 80.
    #[default]
    Http01,
    /// By an answer on port 443 (RFC 8737).
    TlsAlpn01,
    /// By a TXT record.
    Dns01,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawDns {
    /// Its host and port.
    #[schemars(extend("format" = format::HOST_PORT))]
    pub(in crate::config) server: String,
    /// The name of the TSIG key that signs updates, with HMAC-SHA256.
    #[schemars(length(min = 1, max = 253))]
    pub(in crate::config) key_name: String,
    /// The file of that key, in base64 as tsig-keygen prints it.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) key: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawExternalAccount {
    /// The key's id, from the CA.
    #[schemars(length(min = 1, max = 256))]
    pub(in crate::config) key_id: String,
    /// The file of the key, in base64url.
    #[schemars(extend("format" = PATH_FORMAT))]
    pub(in crate::config) key: PathBuf,
}
