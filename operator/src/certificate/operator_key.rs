//! The operator's own key: accounts at CAs and orders are sealed to it. It is kept in a Secret.

use crate::{
    api_server::{CallError, call},
    controller::NamespacedName,
    error_chain::error_chain,
    objects::MANAGED_BY,
};
use adit_acme::SealingKey;
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::sleep;

/// The key of the Secret's data.
const DATA_KEY: &str = "key";
/// Length of the key in bytes.
const KEY_BYTES: usize = 32;
/// First delay between attempts; it doubles up to [`MAX_RETRY_DELAY`].
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
/// Maximum delay between attempts.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(15);

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
enum OperatorKeyError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The key is too short. Replacing it would lose every account and order, so a person has to decide.
    #[error("the Secret's {DATA_KEY:?} has less than {KEY_BYTES} bytes: restore it, or delete the Secret")]
    TooShort,
}

/// Reads the key, and creates it if the Secret does not exist. Retries until that succeeds.
pub(super) async fn load_or_create(client: &Client, id: &NamespacedName) -> SealingKey {
    let api: Api<Secret> = Api::namespaced(client.clone(), &id.namespace);
    let mut delay = MIN_RETRY_DELAY;
    loop {
        match try_load_or_create(&api, id).await {
            Ok(key) => return key,
            Err(error) => {
                tracing::warn!(secret = %id, error = error_chain(&error), "cannot load the operator's key; retrying");
            }
        }
        sleep(delay).await;
        delay = (delay * 2).min(MAX_RETRY_DELAY);
    }
}

async fn try_load_or_create(api: &Api<Secret>, id: &NamespacedName) -> Result<SealingKey, OperatorKeyError> {
    let target = format!("Secret {id}");
    if let Some(secret) = call("read", &target, api.get_opt(&id.name)).await? {
        let bytes = secret.data.unwrap_or_default().remove(DATA_KEY).unwrap_or_default().0;
        let is_long_enough = bytes.len() >= KEY_BYTES;
        return if is_long_enough { Ok(SealingKey::of(&bytes)) } else { Err(OperatorKeyError::TooShort) };
    }
    let bytes: [u8; KEY_BYTES] = rand::random();
    let secret = json!({
        "metadata": { "name": id.name, "labels": BTreeMap::from([MANAGED_BY]) },
        "type": "Opaque", "data": { DATA_KEY: BASE64_STANDARD.encode(bytes) },
    });
    let secret: Secret = serde_json::from_value(secret).expect("the object is a Secret");
    call("create", &target, api.create(&PostParams::default(), &secret)).await?;
    Ok(SealingKey::of(&bytes))
}
