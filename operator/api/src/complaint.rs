//! A Complaint: once acknowledged, it takes an account or a host name offline in every region.

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

/// The complaint and the decision about it.
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
    doc = "A complaint about a tunnel or an account: once acknowledged, it takes its target offline in every region.",
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
    /// The target. It cannot be changed.
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self == oldSelf", "cannot be changed; create another Complaint")
])))]
    pub against: Against,
    /// What the target is accused of.
    pub category: Category,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// Who complains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporter: Option<Reporter>,
    /// Links to evidence. They are not fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 2048)))]
    pub evidence: Vec<String>,
    /// The decision. It cannot become `Pending` again.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self != 'Pending' || oldSelf == 'Pending'", "cannot be Pending again; Dismissed or Lifted ends the suspension")
])))]
    pub decision: Decision,
    /// What is taken offline.
    #[serde(default)]
    pub scope: Scope,
    /// When the suspension expires. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// What happens to the suspension when this object is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// The target of a Complaint: exactly one of these.
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
    /// It impersonates someone to obtain secrets.
    Phishing,
    /// It distributes or controls malicious programs.
    Malware,
    /// It sends or advertises unsolicited messages.
    Spam,
    /// It publishes works without a licence.
    Copyright,
    /// It publishes illegal content.
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

/// A decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// No decision yet.
    #[default]
    Pending,
    /// The complaint is right: its target is taken offline.
    Acknowledged,
    /// The complaint is wrong.
    Dismissed,
    /// The complaint was right and is over.
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

/// What happens to a suspension whose object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It stays, so that deleting a namespace does not end suspensions.
    #[default]
    Retain,
    /// It is lifted.
    Lift,
}

/// The state of the Complaint as the operator last saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComplaintStatus {
    /// The generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the operator has applied the decision. `Enforced`: every relay that is not proven gone has confirmed it.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The target, as one text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// The target's account, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The host names of that account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Number of sessions that were closed.
    pub sessions_closed: i64,
    /// Numbers of relays that have confirmed the decision.
    pub relays: ConfirmedCounts,
    /// When it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Time>,
    /// When all relays had confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced_at: Option<Time>,
}

/// The phase of a Complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The complaint waits for a decision.
    Open,
    /// At least one relay has not confirmed the decision.
    Enforcing,
    /// All relays have confirmed the decision.
    Enforced,
    /// The suspension was lifted.
    Lifted,
    /// The complaint was dismissed.
    Dismissed,
    /// The suspension has expired.
    Expired,
}

/// Numbers of relays that have confirmed a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfirmedCounts {
    /// Number of relays that have confirmed it.
    pub confirmed: i32,
    /// Number of relays that are not proven gone.
    pub relays: i32,
    /// Both numbers, for people: `6/6`.
    pub summary: String,
}
