//! relay.yaml, and the revision that relays confirm.
//!
//! A field of a Region's spec reaches relay.yaml in [`relay_yaml`]. A change of it restarts relays unless [`restart_inputs`]
//! leaves it out.

use super::inputs::{DesiredInputs, HTTP_PORT, HTTPS_PORT, OPS_PORT, PEER_PORT};
use crate::objects::{Kind, Object};
use adit_api::region::RegionTokens;
use adit_config::duration;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The file of the configuration in the pods' folder.
pub(super) const RELAY_YAML: &str = "relay.yaml";

/// The content of relay.yaml. What differs between pods comes from their environment.
pub(super) fn relay_yaml(inputs: &DesiredInputs<'_>) -> Value {
    let spec = &inputs.region.spec;
    let mut provider = Map::new();
    provider.extend(inputs.provider.name.iter().map(|name| ("name".to_owned(), json!(name))));
    provider.extend(inputs.provider.abuse.iter().map(|abuse| ("abuse".to_owned(), json!(abuse))));
    let cidrs = spec.exposure.proxy_protocol.as_ref().map_or(&[][..], |proxy| &proxy.trusted_cidrs);
    let mut yaml = json!({
        "domain": spec.domain,
        "dataDir": "/var/lib/adit",
        "publicPort": spec.exposure.public_port.unwrap_or(443),
        "listen": {
            "https": format!(":{HTTPS_PORT}"),
            "http": format!(":{HTTP_PORT}"),
            "ops": format!(":{OPS_PORT}"),
            "peer": format!(":{PEER_PORT}"),
        },
        "tls": { "certificates": [{ "cert": "development/tls.crt", "key": "development/tls.key" }] },
        "access": access(inputs),
        "limits": spec.limits,
        "provider": provider,
        // ADIT_PEER_ADVERTISE overrides it with each pod's own address.
        "peer": { "advertise": format!("127.0.0.1:{PEER_PORT}"), "ca": "peer/ca.crt", "cert": "peer/tls.crt", "key": "peer/tls.key" },
        "keys": { "region": "keys/region.key", "tokens": "keys/token.key" },
        "proxyProtocol": { "trustedCIDRs": cidrs },
        "drainTimeout": duration::display(spec.relays.drain_timeout),
        "log": { "format": "json" },
        "accessLog": { "format": "json" },
    });
    if let Some(ports) = spec.exposure.tcp_ports {
        yaml["tcpPorts"] = json!(ports);
    }
    yaml
}

fn access(inputs: &DesiredInputs<'_>) -> Value {
    let access = &inputs.region.spec.access;
    let tokens = match &access.tokens {
        RegionTokens::Managed {} => json!({ "managed": {} }),
        RegionTokens::Issuers(issuers) => {
            let issuer = |(index, issuer): (usize, &adit_api::region::RegionIssuer)| json!({ "issuer": issuer.issuer, "audience": issuer.audience, "keys": issuer_file(index) });
            json!({ "issuers": issuers.iter().enumerate().map(issuer).collect::<Vec<_>>() })
        }
    };
    let mut value = json!({ "tokens": tokens });
    if let Some(version) = &access.minimum_client_version {
        value["minimumClientVersion"] = json!(version);
    }
    value
}

fn issuer_file(index: usize) -> String {
    format!("issuer-{index}.keys")
}

/// The files of the ConfigMap.
fn config_files(inputs: &DesiredInputs<'_>) -> BTreeMap<String, String> {
    let yaml = serde_yaml::to_string(&relay_yaml(inputs)).expect("a tree has a YAML form");
    let mut files = BTreeMap::from([(RELAY_YAML.to_owned(), yaml)]);
    if let RegionTokens::Issuers(issuers) = &inputs.region.spec.access.tokens {
        files.extend(
            issuers.iter().enumerate().map(|(index, issuer)| (issuer_file(index), issuer.keys.clone())),
        );
    }
    files
}

/// The revision of the configuration, as relays compute it: a digest of all files, in the order of their paths.
pub(in crate::region) fn revision(inputs: &DesiredInputs<'_>) -> String {
    adit_config::revision::of(files(inputs).values().map(String::as_bytes))
}

/// The files that relays read, by their paths in the pods' folder.
fn files(inputs: &DesiredInputs<'_>) -> BTreeMap<String, String> {
    let mut files = config_files(inputs);
    let material = inputs.material;
    for (folder, data, names) in [
        ("keys", &material.keys, &["region.key", "token.key"][..]),
        ("peer", &material.peer, &["ca.crt", "tls.crt", "tls.key"]),
        ("development", &material.development, &["tls.crt", "tls.key"]),
    ] {
        let file = |name: &&str| Some((format!("{folder}/{name}"), data.get(*name)?.clone()));
        files.extend(names.iter().filter_map(file));
    }
    files
}

pub(super) fn config_map(inputs: &DesiredInputs<'_>) -> Object {
    Object::new(Kind::ConfigMap, inputs.names().relay(), json!({ "data": config_files(inputs) }))
}

/// The ConfigMap with the certificate of the development CA, for clients.
pub(super) fn authority(inputs: &DesiredInputs<'_>) -> Object {
    let data = json!({ "ca.crt": inputs.material.development_authority.cert });
    Object::new(Kind::ConfigMap, inputs.names().ca(), json!({ "data": data }))
}

/// The part of relay.yaml that takes effect only with a new process.
pub(super) fn restart_inputs(inputs: &DesiredInputs<'_>) -> Value {
    let mut yaml = relay_yaml(inputs);
    if let Some(fields) = yaml.as_object_mut() {
        fields.remove("limits");
        fields.remove("access");
    }
    yaml
}
