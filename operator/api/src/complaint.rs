//! A Complaint: it takes an offender offline everywhere, and keeps it out.

use crate::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The finalizer of Complaints: the store learns of the deletion first.
pub const FINALIZER: &str = "adit.dev/complaint";
/// The annotation that lets a Complaint be deleted although the store does not know of it: the value `true`.
pub const GIVE_UP_ANNOTATION: &str = "adit.dev/give-up";
/// The annotation that names who decided.
pub const DECIDED_BY_ANNOTATION: &str = "adit.dev/decided-by";
/// The annotation with the reason of the decision.
pub const REASON_ANNOTATION: &str = "adit.dev/reason";

/// What a Complaint says and what was decided about it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "adit.dev",
    version = "v1alpha1",
    kind = "Complaint",
    namespaced,
    status = "ComplaintStatus",
    derive = "PartialEq",
    shortname = "cpl",
    category = "adit",
    doc = "A complaint: once acknowledged, it takes an offender offline everywhere and keeps it out.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Against", type_ = "string", json_path = ".status.against"),
    printcolumn(name = "Relays", type_ = "string", json_path = ".status.relays.summary"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.until"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.account", priority = 1),
    printcolumn(name = "Category", type_ = "string", json_path = ".spec.category", priority = 1),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("!(self.scope == 'Hostname' && has(self.against.account))", "scope: Hostname needs against.url or against.hostname")
])))]
pub struct ComplaintSpec {
    /// What it is about. It cannot be changed.
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self == oldSelf", "cannot be changed: file another Complaint")
])))]
    pub against: Against,
    /// What it is accused of.
    pub category: Category,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// Who complains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporter: Option<Reporter>,
    /// Links to what proves it. Nothing fetches them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 2048)))]
    pub evidence: Vec<String>,
    /// What was decided. What was decided once is not pending again.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self != 'Pending' || oldSelf == 'Pending'", "cannot be Pending again: Dismissed or Lifted ends it")
])))]
    pub decision: Decision,
    /// What is taken offline.
    #[serde(default)]
    pub scope: Scope,
    /// When it ends by itself. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// What becomes of the suspension when this object is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// What a Complaint is about: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Against {
    /// A URL of a tunnel.
    Url(
        #[schemars(length(min = 1, max = 2048))]
        #[schemars(extend("x-kubernetes-validations" = schema::rules(&[("self.matches('^(https?|tcp)://[^/@ ]+(/[^ ]*)?$')", "is not a URL, which is written like https://name.eu.example.com/path")])))]
        String,
    ),
    /// A tunnel's hostname.
    Hostname(#[schemars(extend("format" = schema::NAME_TO_CERTIFY_FORMAT))] String),
    /// An account: issuer and subject with a `|` between them.
    Account(
        #[schemars(length(min = 1, max = 512))]
        #[schemars(extend("x-kubernetes-validations" = schema::rules(&[("self.contains('|')", "is not an account, which is written like adit|acme-ci: issuer, |, subject")])))]
        String,
    ),
}

/// What a tunnel is accused of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Category {
    /// It poses as someone else, to get at secrets.
    Phishing,
    /// It spreads or commands harmful programs.
    Malware,
    /// It sends or advertises what nobody asked for.
    Spam,
    /// It publishes what belongs to others.
    Copyright,
    /// What it publishes is against the law.
    Illegal,
    /// Something else; the description says what.
    Other,
}

/// Who complains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Reporter {
    /// A name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub name: Option<String>,
    /// An e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254))]
    pub email: Option<String>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// Nothing yet.
    #[default]
    Pending,
    /// It is right: the offender is taken offline.
    Acknowledged,
    /// It is not.
    Dismissed,
    /// It was right and is over.
    Lifted,
}

/// What is taken offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// All that the account publishes.
    #[default]
    Account,
    /// The hostname alone.
    Hostname,
}

/// What becomes of a suspension whose object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It stays: deleting a namespace must not free every offender.
    #[default]
    Retain,
    /// It is lifted.
    Lift,
}

/// What the operator last saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComplaintStatus {
    /// The generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the operator has done what the decision says. `Enforced`: every relay that is not proven gone has confirmed.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What it is about, in one text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// The account that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The hostnames that were found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// How many sessions were closed.
    pub sessions_closed: i64,
    /// How many relays have confirmed.
    pub relays: ConfirmedCounts,
    /// When it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Time>,
    /// When the last relay had confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced_at: Option<Time>,
}

/// Where a Complaint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// It waits for a decision.
    Open,
    /// Some relays have not confirmed yet.
    Enforcing,
    /// All relays have confirmed.
    Enforced,
    /// It is over.
    Lifted,
    /// It was not right.
    Dismissed,
    /// Its time is over.
    Expired,
}

/// How many relays enforce a Complaint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfirmedCounts {
    /// Those that have confirmed.
    pub confirmed: i32,
    /// All that are not proven gone.
    pub relays: i32,
    /// Both, for people: `6/6`.
    pub summary: String,
}
