//! What a Region's operator says of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw. Written only when something has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegionStatus {
    /// The generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `RelaysAvailable`, `CertificateServed`, `RegistryReachable`, `StoreReachable`, `Progressing`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The relays.
    pub relays: RelayCounts,
    /// The labels of its pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Which configuration the relays use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_revision: Option<ConfigRevision>,
    /// Sessions of clients, over all relays. Written at most once a minute, on a change of a tenth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<i64>,
    /// Tunnels, over all relays; one that is served by two relays counts twice. Written together with `sessions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<i64>,
    /// When `sessions` and `tunnels` were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<Time>,
    /// Where consumers and clients arrive: the load balancer's address or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The image of the relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the first of the served certificates ends (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
}

/// How many relays there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RelayCounts {
    /// How many are wanted now.
    pub desired: i32,
    /// How many are ready.
    pub ready: i32,
    /// How many run the newest template.
    pub updated: i32,
    /// How many are draining.
    pub draining: i32,
    /// Ready of desired, for people: `3/3`.
    pub summary: String,
}

/// How far a configuration has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigRevision {
    /// The revision that relays should use: a digest of their configuration and its files.
    pub revision: String,
    /// How many relays have confirmed that they use it.
    pub confirmed: i32,
    /// How many relays there are.
    pub relays: i32,
    /// Confirmed of all, for people: `3/3`.
    pub summary: String,
}

impl RegionStatus {
    /// The condition of a type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind)
    }
}
