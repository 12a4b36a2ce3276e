//! A Certificate: every relay of some regions serves it.

mod status;

pub use status::{CertificateStatus, ChallengeStatus, OrderStatus, RegionServed, ServedCounts};

use crate::{SecretKeyRef, SecretRef, schema};
use adit_config::duration;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The finalizer of Certificates: relays stop serving the certificate before the object is deleted.
pub const FINALIZER: &str = "adit.dev/certificate";
/// The annotation that requests another certificate. Its value is the time of the request (RFC 3339); each new value is
/// followed once.
pub const RENEW_ANNOTATION: &str = "adit.dev/renew";

/// The desired state of a Certificate.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "adit.dev",
    version = "v1alpha1",
    kind = "Certificate",
    namespaced,
    status = "CertificateStatus",
    derive = "PartialEq",
    shortname = "acert",
    category = "adit",
    doc = "A certificate that every relay of some regions serves, renewed without a restart.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Served", type_ = "string", json_path = ".status.served.summary"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.notAfter"),
    printcolumn(name = "Renews", type_ = "string", json_path = ".status.renewalTime"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".status.issuer", priority = 1),
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
    ("[has(self.acme), has(self.secretRef), has(self.selfSigned)].filter(given, given).size() == 1", "needs exactly one of acme, secretRef and selfSigned"),
    ("!has(self.acme) || has(self.acme.solver.dns01) || !self.dnsNames.exists(name, name.startsWith('*.'))", "acme.solver: http01 and tlsAlpn01 cannot prove a wildcard in dnsNames; use dns01"),
    ("!has(self.acme) || !has(self.acme.profile) || self.acme.profile != 'shortlived' || self.dnsNames.size() <= 25", "dnsNames: the profile shortlived allows 25 names at most"),
    ("!has(self.secretRef) || !has(self.renewBefore)", "renewBefore: has no effect with secretRef, whose certificate others renew"),
    ("has(self.acme) || !has(self.revokeOnDelete) || !self.revokeOnDelete", "revokeOnDelete: has no effect without acme")
])))]
pub struct CertificateSpec {
    /// The DNS names, including wildcards.
    #[schemars(with = "Vec<schema::NameToCertify>", length(min = 1, max = 100), extend("x-kubernetes-list-type" = "set"))]
    pub dns_names: Vec<String>,
    /// The domains of the regions that serve it. Default: all regions of the provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<adit_config::DnsName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub regions: Vec<String>,
    /// Issues the certificate by ACME (RFC 8555).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
    /// Takes the certificate from a Secret of the type kubernetes.io/tls, which cert-manager or a person renews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Issues a self-signed certificate, for trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSigned>,
    /// The private key.
    #[serde(default)]
    pub private_key: PrivateKey,
    /// Remaining validity at which the certificate is renewed, if the CA suggests no time. Default: a third of its lifetime.
    #[serde(default, with = "optional_duration", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::Text>")]
    pub renew_before: Option<Duration>,
    /// Whether the certificate is revoked when this object is deleted.
    #[serde(default)]
    pub revoke_on_delete: bool,
    /// A Secret to which the certificate and its key are copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// A CA that speaks ACME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acme {
    /// The URL of the CA's directory.
    #[schemars(extend("format" = schema::HTTPS_URL_FORMAT))]
    pub server: String,
    /// The e-mail address for messages of the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254))]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self.matches('^[^@ ]+@[^@ ]+$')", "is not an e-mail address")
])))]
    pub email: Option<String>,
    /// Binds the ACME account to an existing account of the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<ExternalAccountBinding>,
    /// The CAs that may sign the certificate of the CA's own server (PEM). Default: the CAs that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub ca_bundle: Option<String>,
    /// The CA's profile, for example `shortlived`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub profile: Option<String>,
    /// How control over the names is proven.
    pub solver: Solver,
}

/// External account binding (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAccountBinding {
    /// The key's id, from the CA.
    #[schemars(length(min = 1, max = 256))]
    pub key_id: String,
    /// The key, in base64url.
    pub secret_ref: SecretKeyRef,
}

/// How control over names is proven: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Solver {
    /// By the answer of a relay on port 80.
    Http01 {},
    /// By the answer of a relay on port 443 (RFC 8737).
    TlsAlpn01 {},
    /// By a TXT record; `_acme-challenge` may be a CNAME.
    Dns01(Dns01),
}

/// How TXT records are set: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Dns01 {
    /// By DNS updates (RFC 2136), signed with TSIG.
    #[serde(rename_all = "camelCase")]
    Rfc2136 {
        /// Host and port of the name server.
        #[schemars(length(min = 1, max = 261))]
        server: String,
        /// The name of the TSIG key.
        #[schemars(length(min = 1, max = 253))]
        key_name: String,
        /// The TSIG key.
        secret_ref: SecretKeyRef,
    },
    /// By lego's HTTP request protocol.
    #[serde(rename_all = "camelCase")]
    HttpReq {
        /// The URL.
        #[schemars(extend("format" = schema::HTTPS_URL_FORMAT))]
        url: String,
        /// User name and password, as `user:password`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret_ref: Option<SecretKeyRef>,
    },
}

/// A self-signed certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelfSigned {}

/// The private key of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrivateKey {
    /// The algorithm.
    pub algorithm: KeyAlgorithm,
    /// Whether a renewal creates a new key.
    pub rotation: KeyRotation,
}

/// The algorithm of a private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// ECDSA with the curve P-256.
    #[default]
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    /// ECDSA with the curve P-384.
    #[serde(rename = "ECDSA-P384")]
    EcdsaP384,
    /// RSA with 2048 bits.
    #[serde(rename = "RSA-2048")]
    Rsa2048,
}

/// When a new private key is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyRotation {
    /// At each renewal.
    #[default]
    Always,
    /// Never.
    Never,
}

mod optional_duration {
    use adit_config::duration;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    #[derive(Serialize, Deserialize)]
    struct Text(#[serde(with = "duration")] Duration);

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Text).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
    }
}
