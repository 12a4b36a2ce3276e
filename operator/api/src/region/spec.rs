//! The spec of a Region.

use crate::{SecretKeyRef, schema};
use adit_config::{Limits, Path, Problem, TcpPorts, Version, duration};
use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Maximum length of a Region's name in bytes. Names of its objects are up to 22 bytes longer, and those of pods 17 more, of
/// the 63 that a label can have.
pub const MAX_NAME: usize = 40;
/// Maximum ports for tunnels of the kind `tcp`: a Service has one port for each.
pub const MAX_TCP_PORTS: u16 = 50;

/// The desired state of a Region.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "adit.dev",
    version = "v1alpha1",
    kind = "Region",
    namespaced,
    status = "super::RegionStatus",
    derive = "PartialEq",
    shortname = "reg",
    category = "adit",
    doc = "Relays that share a domain and a registry: clients publish tunnels as names below the domain.",
    scale(
        spec_replicas_path = ".spec.relays.replicas",
        status_replicas_path = ".status.relays.desired",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.domain"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Relays", type_ = "string", json_path = ".status.relays.summary"),
    printcolumn(name = "Sessions", type_ = "integer", json_path = ".status.sessions"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.address"),
    printcolumn(name = "Tunnels", type_ = "integer", json_path = ".status.tunnels", priority = 1),
    printcolumn(name = "Config", type_ = "string", json_path = ".status.configRevision.summary", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = kube::core::Rule::new("size(self.metadata.name) <= 40")
        .message("metadata.name: has more than 40 characters: the names of the Region's objects contain it")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self.registry == oldSelf.registry", "registry: cannot be changed, because it has the open tunnels; create another Region")
])))]
pub struct RegionSpec {
    /// The region's domain. Tunnels have the names `<name>.<domain>`. In DNS the domain and its wildcard point to
    /// `status.address`. It cannot be changed, and no other Region of the provider can have it.
    #[schemars(extend("format" = adit_config::name::FORMAT))]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self == oldSelf", "cannot be changed, because every tunnel's name contains it; create another Region")
])))]
    pub domain: String,
    /// The relays.
    #[serde(default)]
    pub relays: Relays,
    /// How consumers and clients arrive.
    #[serde(default)]
    pub exposure: Exposure,
    /// The registry: which relays serve an endpoint now. It cannot be changed.
    #[serde(default)]
    pub registry: Registry,
    /// The store: the provider's Postgres database.
    pub store: Store,
    /// Who may open tunnels. Relays use a change without a restart.
    #[serde(default)]
    pub access: RegionAccess,
    /// Limits of one account. A token can have its own. Relays use a change without a restart.
    #[serde(default)]
    pub limits: Limits,
    /// Whether all relays are drained and stopped. Objects and names stay.
    #[serde(default)]
    pub suspended: bool,
}

/// The relays of a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("!(has(self.replicas) && has(self.autoscaling))", "replicas and autoscaling are both given; give one of them")
])))]
pub struct Relays {
    /// Number of relays; 2 if neither this nor `autoscaling` is given. To stop all relays, set `suspended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub replicas: Option<i32>,
    /// Scales the relays by their CPU use. It begins with the relays that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The image of adit-relay. Default: the image that came with the operator when the Region was created; with the
    /// annotation `adit.dev/image: Follow`, the image that comes with the operator now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Secrets for pulling the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Resources of one relay. Default: requests of 250m CPU and 128Mi memory, and a limit of 512Mi memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Labels of the nodes on which relays run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that relays tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub tolerations: Vec<Toleration>,
    /// Affinity of relays to nodes and pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How relays are spread. Default: over nodes and zones, as far as possible.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The priority class of relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Additional annotations of the relays' pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// How long a relay that ends waits for open requests and connections, 0s to 1h.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub drain_timeout: Duration,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            replicas: None,
            autoscaling: None,
            image: None,
            image_pull_secrets: Vec::new(),
            resources: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            priority_class_name: None,
            pod_annotations: BTreeMap::new(),
            drain_timeout: Duration::from_secs(120),
        }
    }
}

/// Scales relays by their CPU use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self.min <= self.max", "max: is less than min")
])))]
pub struct Autoscaling {
    /// Minimum number of relays.
    #[schemars(range(min = 1, max = 500))]
    pub min: i32,
    /// Maximum number of relays.
    #[schemars(range(min = 1, max = 500))]
    pub max: i32,
    /// Desired average CPU use of relays, in percent of their CPU request.
    #[serde(default = "default_cpu", rename = "targetCPUUtilization")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization: i32,
}

fn default_cpu() -> i32 {
    70
}

/// How consumers and clients arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("!has(self.loadBalancerClass) || !has(self.type) || self.type == 'LoadBalancer'", "loadBalancerClass: has no effect unless type is LoadBalancer"),
    ("!has(self.nodePorts) || (has(self.type) && self.type != 'ClusterIP')", "nodePorts: have no effect with type ClusterIP"),
    ("!has(self.externalTrafficPolicy) || !has(self.type) || self.type != 'ClusterIP'", "externalTrafficPolicy: has no effect with type ClusterIP")
])))]
pub struct Exposure {
    /// The type of the Service.
    #[serde(rename = "type")]
    pub kind: ExposureType,
    /// Annotations of the Services, for the load balancer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `Local` keeps the consumers' addresses and routes only to nodes with relays. Default: `Cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// The class of the load balancer. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// The port in public URLs. Default: 443.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub public_port: Option<u16>,
    /// The nodes' ports. Default: the cluster chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_ports: Option<NodePorts>,
    /// The PROXY protocol of a load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The public ports for tunnels of the kind `tcp`, at most 50. They have a separate Service. Default: none, and tunnels
    /// of the kind `tcp` are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self.first <= self.last", "last: is less than first"),
    ("self.last - self.first < 50", "has more than 50 ports"),
    ("self.first > 1023", "first: is less than 1024"),
    ("[7443, 8080, 8443, 9090].all(port, port < self.first || port > self.last)", "has a port that relays use themselves: 7443, 8080, 8443 or 9090")
])))]
    pub tcp_ports: Option<TcpPorts>,
}

/// The type of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExposureType {
    /// A load balancer of the cloud provider.
    #[default]
    LoadBalancer,
    /// A port on every node.
    NodePort,
    /// Only inside the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
}

impl ExposureType {
    /// The value of a Service's `spec.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoadBalancer => "LoadBalancer",
            Self::NodePort => "NodePort",
            Self::ClusterIp => "ClusterIP",
        }
    }
}

/// Where a node sends traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// To relays on any node.
    Cluster,
    /// To relays on the same node.
    Local,
}

/// Ports of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePorts {
    /// For HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub https: Option<u16>,
    /// For plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub http: Option<u16>,
}

/// The PROXY protocol (v1 and v2) of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// The networks of the load balancers. Connections from there must begin with a PROXY protocol header, and the address
    /// in it is the consumer's.
    #[serde(rename = "trustedCIDRs")]
    #[schemars(with = "Vec<schema::Cidr>", length(min = 1, max = 64))]
    pub trusted_cidrs: Vec<String>,
}

/// The registry: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Registry {
    /// One pod that the operator runs, without a disk. After a restart relays fill it within seconds.
    Managed {},
    /// An existing Redis.
    #[serde(rename_all = "camelCase")]
    Redis {
        /// Its URL, `redis://` or `rediss://` with user and password.
        url_secret_ref: SecretKeyRef,
    },
}

impl Default for Registry {
    fn default() -> Self {
        Self::Managed {}
    }
}

/// The provider's Postgres database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// The URL with the relays' role, `postgres://USER:PASSWORD@HOST/DATABASE`. The operator grants the role the rights that
    /// relays need.
    pub relay_secret_ref: SecretKeyRef,
}

/// Who may open tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegionAccess {
    /// The accepted tokens.
    pub tokens: RegionTokens,
    /// The oldest accepted client. Default: every client that speaks the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_client_version: Option<Version>,
}

/// The accepted tokens: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RegionTokens {
    /// Tokens of the provider, which relays issue (`kubectl adit token`).
    Managed {},
    /// JWTs (RFC 7519) of other issuers, 1 to 16.
    Issuers(#[schemars(length(min = 1, max = 16))] Vec<RegionIssuer>),
}

impl Default for RegionTokens {
    fn default() -> Self {
        Self::Managed {}
    }
}

/// Another issuer whose JWTs are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionIssuer {
    /// The `iss` claim, for example `https://id.example.com`.
    #[schemars(extend("format" = adit_config::access::ISSUER_FORMAT))]
    pub issuer: String,
    /// A value that the `aud` claim must contain.
    #[schemars(length(min = 1, max = 256))]
    pub audience: String,
    /// Its public keys: a JSON Web Key Set (RFC 7517) or PEM.
    #[schemars(length(min = 1, max = 65536))]
    pub keys: String,
}

impl Region {
    /// The mistakes in the spec that the schema and its rules do not find, with the messages of relay.yaml.
    pub fn problems(&self) -> Vec<Problem> {
        let spec = &self.spec;
        let mut problems: Vec<Problem> =
            spec.limits.problems().into_iter().map(|problem| problem.within("limits")).collect();
        if let Err(rule) = adit_config::check_format(adit_config::name::FORMAT, &spec.domain) {
            problems.push(Problem::new(Path::keys("domain"), format!("{:?} {rule}", spec.domain)));
        }
        if spec.relays.drain_timeout > Duration::from_secs(3600) {
            let text = format!("{} is more than 1h", duration::display(spec.relays.drain_timeout));
            problems.push(Problem::new(Path::keys("relays.drainTimeout"), text));
        }
        if let RegionTokens::Issuers(issuers) = &spec.access.tokens {
            problems.extend(issuer_problems(issuers));
        }
        if let Some(ports) = &spec.exposure.tcp_ports {
            let within = |problem: Problem| problem.within("tcpPorts").within("exposure");
            problems.extend(ports.problems().into_iter().map(within));
        }
        problems.into_iter().map(|problem| problem.within("spec")).collect()
    }

    /// The initial number of relays: 0 while the region is suspended.
    pub fn replicas(&self) -> i32 {
        let relays = &self.spec.relays;
        match &relays.autoscaling {
            _ if self.spec.suspended => 0,
            Some(autoscaling) => autoscaling.min,
            None => relays.replicas.unwrap_or(2),
        }
    }
}

fn issuer_problems(issuers: &[RegionIssuer]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, issuer) in issuers.iter().enumerate() {
        let field = Path::keys("access.tokens.issuers").join(index);
        if issuers[..index].iter().any(|earlier| earlier.issuer == issuer.issuer) {
            problems.push(Problem::new(field.join("issuer"), format!("{:?} is listed twice", issuer.issuer)));
        }
        let keys = issuer.keys.trim_start();
        if !keys.starts_with('{') && !keys.starts_with("-----BEGIN ") {
            let rule = "is neither a JSON Web Key Set nor PEM";
            problems.push(Problem::new(field.join("keys"), rule));
        }
    }
    problems
}
