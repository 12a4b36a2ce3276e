//! The objects that the operator applies: their kinds, names and common labels.

use crate::namespaced_name::NamespacedName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ApiResource;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt};

/// The field manager of everything that the operator applies.
pub(crate) const MANAGER: &str = "adit-operator";
/// The field manager of a Deployment's `replicas`, which an autoscaler can take over.
pub(crate) const REPLICAS_MANAGER: &str = "adit-operator-replicas";
/// The label that marks the operator's objects: name and value.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "adit-operator");
/// The label with the Region's name.
pub(crate) const REGION_LABEL: &str = "adit.dev/region";
/// The label with a pod's component: `relay` or `registry`.
pub(crate) const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// A kind of object that the operator applies. The order of the variants is the order of application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// v1.
    ServiceAccount,
    /// v1.
    Secret,
    /// v1.
    ConfigMap,
    /// networking.k8s.io/v1.
    NetworkPolicy,
    /// v1.
    Service,
    /// policy/v1.
    PodDisruptionBudget,
    /// apps/v1.
    Deployment,
    /// autoscaling/v2.
    HorizontalPodAutoscaler,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::ServiceAccount,
        Self::Secret,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
    ];

    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        }
    }

    /// The API resource.
    pub fn resource(self) -> ApiResource {
        let (group, version, plural) = match self {
            Self::ServiceAccount => ("", "v1", "serviceaccounts"),
            Self::Secret => ("", "v1", "secrets"),
            Self::ConfigMap => ("", "v1", "configmaps"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "networkpolicies"),
            Self::Service => ("", "v1", "services"),
            Self::PodDisruptionBudget => ("policy", "v1", "poddisruptionbudgets"),
            Self::Deployment => ("apps", "v1", "deployments"),
            Self::HorizontalPodAutoscaler => ("autoscaling", "v2", "horizontalpodautoscalers"),
        };
        let gvk = kube::api::GroupVersionKind::gvk(group, version, self.as_str());
        ApiResource::from_gvk_with_plural(&gvk, plural)
    }

    /// Whether the API server counts changes of the spec in `metadata.generation`, which tells them from changes of the
    /// status.
    pub(crate) fn has_generation(self) -> bool {
        matches!(self, Self::Deployment | Self::NetworkPolicy | Self::PodDisruptionBudget)
    }
}

/// A desired object, without its namespace and owner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
    /// Labels in addition to [`labels`].
    pub(crate) labels: BTreeMap<String, String>,
    /// Its annotations.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Everything except its type and metadata.
    pub(crate) body: Value,
}

impl Object {
    /// An object without labels and annotations of its own.
    pub(crate) fn new(kind: Kind, name: String, body: Value) -> Self {
        Self { kind, name, labels: BTreeMap::new(), annotations: BTreeMap::new(), body }
    }

    /// The object as it is applied for a Region.
    pub(crate) fn manifest(&self, region: &NamespacedName, owner: &OwnerReference) -> Value {
        let resource = self.kind.resource();
        let mut labels = labels(&region.name);
        labels.extend(self.labels.clone());
        let mut manifest = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": self.name,
                "namespace": region.namespace,
                "labels": labels,
                "ownerReferences": [owner],
            },
        });
        if !self.annotations.is_empty() {
            manifest["metadata"]["annotations"] = json!(self.annotations);
        }
        if let (Some(fields), Some(body)) = (manifest.as_object_mut(), self.body.as_object()) {
            fields.extend(body.clone());
        }
        manifest
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// The labels of every object of a Region.
pub(crate) fn labels(region: &str) -> BTreeMap<String, String> {
    [
        MANAGED_BY,
        ("app.kubernetes.io/name", "adit"),
        ("app.kubernetes.io/instance", region),
        (REGION_LABEL, region),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// The labels of a Region's pods of one component.
pub(crate) fn pod_labels(region: &str, component: &str) -> BTreeMap<String, String> {
    [(REGION_LABEL, region), (COMPONENT_LABEL, component)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The label selector of a Region's pods of one component.
pub(crate) fn pod_selector(region: &str, component: &str) -> String {
    format!("{REGION_LABEL}={region},{COMPONENT_LABEL}={component}")
}

/// The first 16 hexadecimal digits of the SHA-256 of these parts, each with its length.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
