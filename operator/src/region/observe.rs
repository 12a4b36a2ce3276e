//! What there is of a Region: reads from the API server, and nothing else.

use super::{
    desired::{INPUTS_ANNOTATION, TEMPLATE_ANNOTATION},
    material::{Data, Found},
    names::Names,
    status::{DeploymentSeen, State},
};
use crate::{
    apply::CALL,
    objects::{MANAGER, REGION_LABEL, REPLICAS_MANAGER, digest},
};
use adit_api::{Region, SecretKeyRef, region::Registry};
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
use std::collections::BTreeMap;

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) deployment: Option<Deployment>,
    pub(super) service: Option<Service>,
    pub(super) secrets: Found,
    /// The URL of the relays' store, if its Secret is there.
    pub(super) store_url: Option<String>,
    /// The URL of the registry that is not managed, if its Secret is there.
    pub(super) registry_url: Option<String>,
}

/// Who has said how many pods there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The operator's manager for that one field: it stays when the operator no longer names it.
    Apart,
    /// The operator's main manager, when it made the Deployment: it would become 1 when that no longer names it.
    WithTheRest,
    /// An autoscaler, or a person.
    ByOthers,
}

/// A read that failed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The API server refused it, or could not be reached.
    #[error("cannot read {0}")]
    Read(&'static str, #[source] Box<kube::Error>),
    /// It did not answer.
    #[error("the API server did not answer in {} s", CALL.as_secs())]
    Slow,
}

async fn read<T>(what: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, ObserveError> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(ObserveError::Read(what, Box::new(error))),
        Err(_) => Err(ObserveError::Slow),
    }
}

/// Reads what there is of a Region.
pub(super) async fn observe(
    client: &Client,
    region: &Region,
    place: &(String, String),
) -> Result<Seen, ObserveError> {
    let (namespace, name) = place;
    let names = Names(name);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let own = ListParams::default().labels(&format!("{REGION_LABEL}={name}"));
    let relay = names.relay();
    let (deployment, service, listed) = tokio::try_join!(
        read("the Deployment", deployments.get_opt(&relay)),
        read("the Service", services.get_opt(&relay)),
        read("the Secrets", secrets.list(&own)),
    )?;
    let url = async |reference: &SecretKeyRef| {
        let secret = read("a Secret", secrets.get_opt(&reference.name)).await?;
        Ok::<_, ObserveError>(secret.and_then(|secret| text(secret.data?.get(&reference.key)?)))
    };
    let registry_url = match &region.spec.registry {
        Registry::Managed {} => None,
        Registry::Redis { url_secret_ref } => url(url_secret_ref).await?,
    };
    let named = |secret: Secret| Some((secret.metadata.name?, data(secret.data.unwrap_or_default())));
    Ok(Seen {
        deployment,
        service,
        secrets: listed.items.into_iter().filter_map(named).collect(),
        store_url: url(&region.spec.store.relay_secret_ref).await?,
        registry_url,
    })
}

fn data(data: BTreeMap<String, ByteString>) -> Data {
    data.iter().filter_map(|(key, bytes)| Some((key.clone(), text(bytes)?))).collect()
}

fn text(bytes: &ByteString) -> Option<String> {
    String::from_utf8(bytes.0.clone()).ok()
}

/// The pods of a Region's relays that are still there, those that are ending included.
pub(super) async fn pods(client: &Client, place: &(String, String)) -> Result<usize, ObserveError> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), &place.0);
    let labels = crate::objects::pod_labels(&place.1, "relay");
    let selector: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    // Pods that have ended are nobody's.
    let running = "status.phase!=Failed,status.phase!=Succeeded";
    let params = ListParams::default().labels(&selector.join(",")).fields(running);
    let list = read("the pods", pods.list(&params)).await?;
    Ok(list.items.len())
}

impl Seen {
    /// A digest of the back ends' URLs, as far as they are known.
    pub(super) fn back_ends(&self) -> String {
        let bytes = |url: &Option<String>| url.clone().unwrap_or_default().into_bytes();
        digest(&[&bytes(&self.store_url), &bytes(&self.registry_url)])
    }

    /// The image of the relays.
    pub(super) fn image(&self) -> Option<String> {
        self.deployment.as_ref()?.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.clone()
    }

    /// The pod template that was applied last, and the digest of what it was made of.
    pub(super) fn kept_template(&self) -> Option<(String, Value)> {
        let annotations = self.deployment.as_ref()?.metadata.annotations.as_ref()?;
        let inputs = annotations.get(INPUTS_ANNOTATION)?.clone();
        Some((inputs, serde_json::from_str(annotations.get(TEMPLATE_ANNOTATION)?).ok()?))
    }

    /// How many pods are asked for, and who has said so.
    pub(super) fn replicas(&self) -> Option<(i32, Said)> {
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
        let said = match () {
            () if owns(REPLICAS_MANAGER) => Said::Apart,
            () if owns(MANAGER) => Said::WithTheRest,
            () => Said::ByOthers,
        };
        Some((deployment.spec.as_ref()?.replicas.unwrap_or(1), said))
    }

    /// Where consumers arrive.
    pub(super) fn address(&self) -> Option<String> {
        let status = self.service.as_ref()?.status.as_ref()?;
        let ingress = status.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
        ingress.ip.clone().or_else(|| ingress.hostname.clone())
    }

    /// How the Deployment stands.
    pub(super) fn deployment_seen(&self) -> Option<DeploymentSeen> {
        let deployment = self.deployment.as_ref()?;
        let status = deployment.status.clone().unwrap_or_default();
        let stuck = status.conditions.iter().flatten().find(|condition| {
            (condition.type_ == "Progressing" && condition.status == "False")
                || (condition.type_ == "ReplicaFailure" && condition.status == "True")
        });
        Some(DeploymentSeen {
            is_observed: status.observed_generation == deployment.metadata.generation,
            wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            stuck: stuck.map(|condition| condition.message.clone().unwrap_or_default()),
            image: self.image(),
        })
    }

    /// Whether the Secret of the relays' store is there, in words if it is not.
    pub(super) fn store_secret(&self, region: &Region) -> State {
        missing(
            "spec.store.relaySecretRef",
            &region.spec.store.relay_secret_ref,
            self.store_url.is_some(),
            region,
        )
    }

    /// The same of the registry, where it is not managed.
    pub(super) fn registry_secret(&self, region: &Region) -> State {
        match &region.spec.registry {
            Registry::Managed {} => State::Good,
            Registry::Redis { url_secret_ref } => missing(
                "spec.registry.redis.urlSecretRef",
                url_secret_ref,
                self.registry_url.is_some(),
                region,
            ),
        }
    }
}

fn missing(field: &str, reference: &SecretKeyRef, is_there: bool, region: &Region) -> State {
    if is_there {
        return State::Good;
    }
    let namespace = region.metadata.namespace.as_deref().unwrap_or_default();
    let (name, key) = (&reference.name, &reference.key);
    let message = format!("{field}: no Secret \"{name}\" with key \"{key}\" in namespace \"{namespace}\"");
    State::Bad { reason: "SecretNotFound", message }
}
