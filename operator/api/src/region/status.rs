//! The status of a Region.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of the Region as the operator last saw it. It is written only when it changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegionStatus {
    /// The generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `RelaysAvailable`, `CertificateServed`, `RegistryReachable`, `StoreReachable`, `Progressing`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The numbers of relays.
    pub relays: RelayCounts,
    /// The label selector of the relays' pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Which configuration the relays use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_revision: Option<ConfigRevision>,
    /// Number of client sessions on all relays. It is updated at most once a minute, and on a change of a tenth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<i64>,
    /// Number of tunnels on all relays; a tunnel on two relays counts twice. It is updated together with `sessions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<i64>,
    /// When `sessions` and `tunnels` were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<Time>,
    /// Where consumers and clients arrive: the load balancer's address or name; with `NodePort`, a node's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The image of the relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the first of the served certificates expires (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
}

/// Numbers of relays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RelayCounts {
    /// Desired number.
    pub desired: i32,
    /// Number of ready relays.
    pub ready: i32,
    /// Number of relays that run the newest template.
    pub updated: i32,
    /// Number of draining relays.
    pub draining: i32,
    /// Ready and desired relays, for people: `3/3`.
    pub summary: String,
}

/// How far the newest configuration is rolled out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigRevision {
    /// The revision that relays should use: a digest of their configuration files.
    pub revision: String,
    /// Number of relays that have confirmed it.
    pub confirmed: i32,
    /// Number of relays that should confirm it.
    pub relays: i32,
    /// Confirmed and all relays, for people: `3/3`.
    pub summary: String,
}

impl RegionStatus {
    /// The condition of a type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind)
    }
}
