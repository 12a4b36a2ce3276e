//! Reads what exists of a Region from the API server.

use super::{
    desired::{INPUTS_ANNOTATION, TEMPLATE_ANNOTATION},
    key_material::{SecretData, Secrets},
    object_names::ObjectNames,
    status::DeploymentState,
};
use crate::{
    api_server::{CallError, call},
    controller::NamespacedName,
    objects::{MANAGER, REGION_LABEL, REPLICAS_MANAGER, digest, pod_selector},
    store_view::Reachability,
};
use adit_api::{
    Region, SecretKeyRef,
    region::{ExposureType, Registry},
};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{Pod, Secret, Service},
    },
};
use kube::{
    Api, Client,
    api::{ListParams, PartialObjectMeta},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// The objects of a Region, as far as they exist.
#[derive(Debug, Default)]
pub(super) struct RegionObjects {
    pub(super) deployment: Option<Deployment>,
    pub(super) service: Option<Service>,
    pub(super) secrets: Secrets,
    /// The URL of the relays' store; `None` if its Secret or key is missing.
    pub(super) store_url: Option<String>,
    /// The URL of a registry that is not managed; `None` if its Secret or key is missing.
    pub(super) registry_url: Option<String>,
    /// The address of a node that runs a relay, for a Service of the type NodePort.
    pub(super) node_address: Option<IpAddr>,
}

/// Who owns `spec.replicas` of the relays' Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplicasOwner {
    /// The operator's field manager for that field: the number stays when the operator no longer names it.
    SeparateManager,
    /// The operator's main field manager, which created the Deployment: the number becomes 1 when it no longer names it.
    MainManager,
    /// An autoscaler or a person.
    Other,
}

/// Reads the objects of a Region.
pub(super) async fn observe(
    client: &Client,
    region: &Region,
    id: &NamespacedName,
) -> Result<RegionObjects, CallError> {
    let NamespacedName { namespace, name } = id;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let own = ListParams::default().labels(&format!("{REGION_LABEL}={name}"));
    let relay = ObjectNames(name).relay();
    let (deployment, service, listed, node_address) = tokio::try_join!(
        call("read", format!("Deployment {relay}"), deployments.get_opt(&relay)),
        call("read", format!("Service {relay}"), services.get_opt(&relay)),
        call("list", "Secrets", secrets.list(&own)),
        node_address(client, region, id),
    )?;
    let registry_url = match &region.spec.registry {
        Registry::Managed {} => None,
        Registry::Redis { url_secret_ref } => secret_value(&secrets, url_secret_ref).await?,
    };
    let named = |secret: Secret| Some((secret.metadata.name?, data(secret.data.unwrap_or_default())));
    Ok(RegionObjects {
        deployment,
        service,
        secrets: listed.items.into_iter().filter_map(named).collect(),
        store_url: secret_value(&secrets, &region.spec.store.relay_secret_ref).await?,
        registry_url,
        node_address,
    })
}

async fn secret_value(secrets: &Api<Secret>, reference: &SecretKeyRef) -> Result<Option<String>, CallError> {
    let SecretKeyRef { name, key } = reference;
    let secret = call("read", format!("Secret {name}"), secrets.get_opt(name)).await?;
    Ok(secret.and_then(|secret| text(secret.data?.get(key)?)))
}

/// The lowest address of the nodes that run relays; `None` unless the Service has the type NodePort.
async fn node_address(
    client: &Client,
    region: &Region,
    id: &NamespacedName,
) -> Result<Option<IpAddr>, CallError> {
    if region.spec.exposure.kind != ExposureType::NodePort {
        return Ok(None);
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &id.namespace);
    let list = call("list", "the relays' Pods", pods.list(&running_relays(id))).await?;
    let host_ip = |pod: &Pod| pod.status.as_ref()?.host_ip.as_ref()?.parse().ok();
    Ok(list.items.iter().filter_map(host_ip).min())
}

/// The relays' pods, those that are ending included. Pods that have ended are left out.
fn running_relays(id: &NamespacedName) -> ListParams {
    ListParams::default()
        .labels(&pod_selector(&id.name, "relay"))
        .fields("status.phase!=Failed,status.phase!=Succeeded")
}

fn data(data: BTreeMap<String, ByteString>) -> SecretData {
    data.iter().filter_map(|(key, bytes)| Some((key.clone(), text(bytes)?))).collect()
}

fn text(bytes: &ByteString) -> Option<String> {
    String::from_utf8(bytes.0.clone()).ok()
}

/// Number of a Region's relay pods, those that are ending included.
pub(super) async fn count_pods(client: &Client, id: &NamespacedName) -> Result<usize, CallError> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), &id.namespace);
    let list = call("list", "the relays' Pods", pods.list(&running_relays(id))).await?;
    Ok(list.items.len())
}

impl RegionObjects {
    /// A digest of the URLs of the store and the registry.
    pub(super) fn back_ends_digest(&self) -> String {
        let bytes = |url: &Option<String>| url.clone().unwrap_or_default().into_bytes();
        digest(&[&bytes(&self.store_url), &bytes(&self.registry_url)])
    }

    /// The relays' image.
    pub(super) fn image(&self) -> Option<String> {
        self.deployment.as_ref()?.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.clone()
    }

    /// The digest of the inputs of the pod template that was applied last, and the template.
    pub(super) fn kept_template(&self) -> Option<(String, Value)> {
        let annotations = self.deployment.as_ref()?.metadata.annotations.as_ref()?;
        let inputs = annotations.get(INPUTS_ANNOTATION)?.clone();
        Some((inputs, serde_json::from_str(annotations.get(TEMPLATE_ANNOTATION)?).ok()?))
    }

    /// `spec.replicas` of the Deployment, and who owns the field.
    pub(super) fn replicas(&self) -> Option<(i32, ReplicasOwner)> {
        let deployment = self.deployment.as_ref()?;
        let owns = |manager: &str| {
            let mut entries = deployment.metadata.managed_fields.iter().flatten();
            entries.any(|entry| {
                let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:spec"]["f:replicas"]);
                let is_named = fields.is_some_and(|field| !field.is_null());
                entry.manager.as_deref() == Some(manager)
                    && entry.operation.as_deref() == Some("Apply")
                    && is_named
            })
        };
        let owner = match () {
            () if owns(REPLICAS_MANAGER) => ReplicasOwner::SeparateManager,
            () if owns(MANAGER) => ReplicasOwner::MainManager,
            () => ReplicasOwner::Other,
        };
        Some((deployment.spec.as_ref()?.replicas.unwrap_or(1), owner))
    }

    /// Where consumers and clients arrive: the load balancer, or a node and its port for HTTPS.
    pub(super) fn address(&self) -> Option<String> {
        let service = self.service.as_ref()?;
        let load_balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = load_balancer.and_then(|balancer| balancer.ingress.as_ref()?.first());
        if let Some(ingress) = ingress {
            return ingress.ip.clone().or_else(|| ingress.hostname.clone());
        }
        let ports = service.spec.as_ref()?.ports.iter().flatten();
        let https =
            ports.filter(|port| port.name.as_deref() == Some("https")).find_map(|port| port.node_port)?;
        Some(SocketAddr::new(self.node_address?, u16::try_from(https).ok()?).to_string())
    }

    /// The state of the relays' Deployment.
    pub(super) fn deployment_state(&self) -> Option<DeploymentState> {
        let deployment = self.deployment.as_ref()?;
        let status = deployment.status.clone().unwrap_or_default();
        let problem = status.conditions.iter().flatten().find(|condition| {
            (condition.type_ == "Progressing" && condition.status == "False")
                || (condition.type_ == "ReplicaFailure" && condition.status == "True")
        });
        Some(DeploymentState {
            is_observed: status.observed_generation == deployment.metadata.generation,
            desired: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            problem: problem.map(|condition| condition.message.clone().unwrap_or_default()),
            image: self.image(),
        })
    }

    /// Whether the Secret with the store's URL exists.
    pub(super) fn store_secret(&self, region: &Region) -> Reachability {
        secret_state(
            "spec.store.relaySecretRef",
            &region.spec.store.relay_secret_ref,
            self.store_url.is_some(),
            region,
        )
    }

    /// Whether the Secret with the registry's URL exists. A managed registry needs none.
    pub(super) fn registry_secret(&self, region: &Region) -> Reachability {
        match &region.spec.registry {
            Registry::Managed {} => Reachability::Reachable,
            Registry::Redis { url_secret_ref } => secret_state(
                "spec.registry.redis.urlSecretRef",
                url_secret_ref,
                self.registry_url.is_some(),
                region,
            ),
        }
    }
}

fn secret_state(field: &str, reference: &SecretKeyRef, exists: bool, region: &Region) -> Reachability {
    if exists {
        return Reachability::Reachable;
    }
    let namespace = region.metadata.namespace.as_deref().unwrap_or_default();
    let (name, key) = (&reference.name, &reference.key);
    let message =
        format!("{field}: there is no Secret \"{name}\" with key \"{key}\" in namespace \"{namespace}\"");
    Reachability::Unreachable { reason: "SecretNotFound", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn objects(service: serde_json::Value, node: Option<&str>) -> RegionObjects {
        RegionObjects {
            service: Some(serde_json::from_value(service).unwrap()),
            node_address: node.map(|node| node.parse().unwrap()),
            ..RegionObjects::default()
        }
    }

    #[test]
    fn the_address_is_that_of_the_load_balancer_or_of_a_node() {
        let ports = json!([{"name": "http", "port": 80, "nodePort": 30080}, {"name": "https", "port": 443, "nodePort": 30443}]);
        let node_port = json!({"spec": {"type": "NodePort", "ports": ports}});
        let address = |node| objects(node_port.clone(), node).address();
        assert_eq!(address(Some("172.18.0.3")).as_deref(), Some("172.18.0.3:30443"));
        assert_eq!(address(Some("fd00::3")).as_deref(), Some("[fd00::3]:30443"));
        assert_eq!(address(None), None, "no relay runs yet");
        let balanced = json!({"spec": {"ports": ports}, "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}});
        assert_eq!(objects(balanced, None).address().as_deref(), Some("203.0.113.7"));
        let inside = json!({"spec": {"type": "ClusterIP", "ports": [{"name": "https", "port": 443}]}});
        assert_eq!(objects(inside, None).address(), None);
    }
}
