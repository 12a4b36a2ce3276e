//! The objects that the operator makes: their kinds, names and common labels.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ApiResource;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The field manager of everything that the operator applies.
pub const MANAGER: &str = "adit-operator";
/// The field manager of a Deployment's `replicas`, which an autoscaler takes over from it.
pub const REPLICAS_MANAGER: &str = "adit-operator-replicas";
/// The label by which the operator finds its objects.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "adit-operator");
/// The label with the Region's name.
pub const REGION_LABEL: &str = "adit.dev/region";
/// The label with the part that a pod plays: `relay` or `registry`.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// A kind of object that the operator makes, in the order in which they are applied.
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

    /// Its place in the API.
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

    /// Whether the API server counts changes of the spec as `metadata.generation`, so that changes of the status can be
    /// told from others.
    pub fn has_generation(self) -> bool {
        matches!(self, Self::Deployment | Self::NetworkPolicy | Self::PodDisruptionBudget)
    }
}

/// An object as it should be, without its namespace and owner.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its labels, beside those of the operator.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Everything but its type and metadata.
    pub body: Value,
}

impl Object {
    /// An object without labels and annotations of its own.
    pub fn new(kind: Kind, name: String, body: Value) -> Self {
        Self { kind, name, labels: BTreeMap::new(), annotations: BTreeMap::new(), body }
    }

    /// The whole object, as it is applied.
    pub fn manifest(&self, namespace: &str, region: &str, owner: &OwnerReference) -> Value {
        let resource = self.kind.resource();
        let mut labels = labels(region);
        labels.extend(self.labels.clone());
        let mut manifest = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": self.name,
                "namespace": namespace,
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

/// The labels of every object of a Region.
pub fn labels(region: &str) -> BTreeMap<String, String> {
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

/// The labels by which a Region's pods of one part are found.
pub fn pod_labels(region: &str, component: &str) -> BTreeMap<String, String> {
    [(REGION_LABEL, region), (COMPONENT_LABEL, component)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The first 16 hexadecimal digits of a SHA-256.
pub fn digest(parts: &[&[u8]]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
