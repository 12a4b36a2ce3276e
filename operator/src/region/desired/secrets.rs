//! The Secrets.

use super::inputs::{DesiredInputs, REDIS_PORT};
use crate::{
    objects::{Kind, Object, digest},
    region::key_material::SecretData,
};
use adit_api::region::Registry;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use std::collections::BTreeMap;

/// The commands that the managed registry's user may call; the registry's tests use the same list. A server does not start
/// with an ACL that names an unknown command, so `client|setinfo` of Redis 7.2 is left out; relays work without it.
const ACL_COMMANDS: &str = "+evalsha +script +time +hget +hset +hdel +hexists +hlen +hincrby +hgetall +hscan +del +pexpire \
                      +xadd +xread +ping +select +client|setname +hello +auth";

fn secret(name: String, data: &SecretData) -> Object {
    let encode = |(key, text): (&String, &String)| (key.clone(), BASE64_STANDARD.encode(text));
    let data: BTreeMap<String, String> = data.iter().map(encode).collect();
    Object::new(Kind::Secret, name, json!({ "type": "Opaque", "data": data }))
}

pub(super) fn secrets(inputs: &DesiredInputs<'_>) -> Vec<Object> {
    let (names, material) = (inputs.names(), inputs.material);
    let ca = &material.development_authority;
    let ca =
        SecretData::from([("ca.crt".to_owned(), ca.cert.clone()), ("ca.key".to_owned(), ca.key.clone())]);
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

/// The Secret of the managed registry: its URL for relays, and its users.
fn registry(inputs: &DesiredInputs<'_>) -> SecretData {
    let password = &inputs.material.registry_password;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, password.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = format!("~{{{}}}:*", inputs.region.spec.domain);
    let acl = format!("user default off\nuser relay on #{hash} {keys} {ACL_COMMANDS}\n");
    let url = format!("redis://relay:{password}@{}:{REDIS_PORT}/0", inputs.names().registry());
    SecretData::from([
        ("password".to_owned(), password.clone()),
        ("url".to_owned(), url),
        ("users.acl".to_owned(), acl),
    ])
}

/// A digest of the keys that a running relay does not read again.
pub(super) fn restart_digest(inputs: &DesiredInputs<'_>) -> String {
    let text = |data: &SecretData| data.values().cloned().collect::<Vec<_>>().join("\n");
    digest(&[text(&inputs.material.keys).as_bytes()])
}
