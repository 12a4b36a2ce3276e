//! Adit's custom resources, `adit.dev/v1alpha1`: their types, schemas and rules. No IO.
//!
//! `make crds` writes [`crds`] to `crds/`. Sections that a Region shares with relay.yaml are types of adit-config; [`schema`]
//! turns the formats in their schemas into CEL rules.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn has its own type and priority")]

pub mod certificate;
pub mod complaint;
pub mod region;
pub mod schema;
mod secret_ref;

pub use certificate::{Certificate, CertificateSpec, CertificateStatus};
pub use complaint::{Complaint, ComplaintSpec, ComplaintStatus};
pub use region::{Region, RegionSpec, RegionStatus};
pub use secret_ref::{SecretKeyRef, SecretRef};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of all kinds.
pub const GROUP: &str = "adit.dev";

/// The definition of each kind, by the name of its file in `crds/`.
pub fn crds() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("regions.yaml", schema::structural(Region::crd())),
        ("certificates.yaml", schema::structural(Certificate::crd())),
        ("complaints.yaml", schema::structural(Complaint::crd())),
    ]
}

/// The content of the files in `crds/`.
///
/// # Panics
/// Never: a definition has a YAML form.
pub fn yaml() -> Vec<(&'static str, String)> {
    let text = |crd| {
        let text = serde_yaml::to_string(&crd).expect("a definition has a YAML form");
        format!("# Generated from operator/api by `make crds`.\n{text}")
    };
    crds().into_iter().map(|(file, crd)| (file, text(crd))).collect()
}
