//! The Secrets.

use super::{Inputs, REDIS};
use crate::{
    objects::{Kind, Object, digest},
    region::material::Data,
};
use adit_api::region::Registry;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use std::collections::BTreeMap;

/// What the one user of a managed registry may do, as the registry's tests hold it. Nothing that only newer servers know:
/// a server does not start with an ACL that names something unknown to it. (`client|setinfo` came with 7.2; relays do
/// without an answer to it.)
const RIGHTS: &str = "+evalsha +script +time +hget +hset +hdel +hexists +hlen +hincrby +hgetall +hscan +del +pexpire \
                      +xadd +xread +ping +select +client|setname +hello +auth";

fn secret(name: String, data: &Data) -> Object {
    let encode = |(key, text): (&String, &String)| (key.clone(), BASE64_STANDARD.encode(text));
    let data: BTreeMap<String, String> = data.iter().map(encode).collect();
    Object::new(Kind::Secret, name, json!({ "type": "Opaque", "data": data }))
}

pub(super) fn secrets(inputs: &Inputs<'_>) -> Vec<Object> {
    let (names, material) = (inputs.names(), inputs.material);
    let ca = &material.development_authority;
    let ca = Data::from([("ca.crt".to_owned(), ca.cert.clone()), ("ca.key".to_owned(), ca.key.clone())]);
    let mut secrets = vec![
        secret(names.keys(), &material.keys),
        secret(names.peer_ca(), &material.peer_authority_data()),
        secret(names.peer(), &material.peer),
        secret(names.ca(), &ca),
        secret(names.development(), &material.development),
    ];
    if matches!(inputs.region.spec.registry, Registry::Managed {}) {
        secrets.push(secret(names.registry(), &registry(inputs)));
    }
    secrets
}

/// The managed registry's URL for relays, and its users.
fn registry(inputs: &Inputs<'_>) -> Data {
    let password = &inputs.material.registry_password;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, password.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = format!("~{{{}}}:*", inputs.region.spec.domain);
    let acl = format!("user default off\nuser relay on #{hash} {keys} {RIGHTS}\n");
    let url = format!("redis://relay:{password}@{}:{REDIS}/0", inputs.names().registry());
    Data::from([
        ("password".to_owned(), password.clone()),
        ("url".to_owned(), url),
        ("users.acl".to_owned(), acl),
    ])
}

/// A digest of what relays cannot read anew while they run.
pub(super) fn restarting(inputs: &Inputs<'_>) -> String {
    let text = |data: &Data| data.values().cloned().collect::<Vec<_>>().join("\n");
    digest(&[text(&inputs.material.keys).as_bytes()])
}
