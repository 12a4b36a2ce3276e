//! The key to which accounts and orders are sealed: a Secret of the operator's own.

use crate::{apply::CALL, objects::MANAGED_BY};
use adit_acme::SealingKey;
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{sleep, timeout};

/// The key in the Secret.
const FIELD: &str = "key";
/// The longest pause between two tries.
const MOST_PAUSE: Duration = Duration::from_secs(15);

/// The key, made if it is not there. Tries until the API server answers.
pub(super) async fn keeper(client: &Client, namespace: &str, name: &str) -> SealingKey {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut pause = Duration::from_millis(500);
    loop {
        match timeout(CALL, get_or_create(&api, name)).await {
            Ok(Ok(key)) => return key,
            Ok(Err(error)) => {
                tracing::warn!(name, error, "no key for accounts at CAs");
            }
            Err(_) => tracing::warn!(name, "the API server does not answer"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(MOST_PAUSE);
    }
}

async fn get_or_create(api: &Api<Secret>, name: &str) -> Result<SealingKey, String> {
    if let Some(secret) = api.get_opt(name).await.map_err(|error| error.to_string())? {
        let bytes = secret.data.unwrap_or_default().remove(FIELD).unwrap_or_default().0;
        // Making another one would cost every account and every certificate's second copy: a person has to look.
        return if bytes.len() >= 32 {
            Ok(SealingKey::of(&bytes))
        } else {
            Err(format!("its {FIELD} is too short"))
        };
    }
    let bytes: [u8; 32] = rand::random();
    let secret = json!({
        "metadata": { "name": name, "labels": BTreeMap::from([MANAGED_BY]) },
        "type": "Opaque", "data": { FIELD: BASE64_STANDARD.encode(bytes) },
    });
    let secret: Secret = serde_json::from_value(secret).map_err(|error| error.to_string())?;
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(SealingKey::of(&bytes)),
        Err(error) => Err(error.to_string()),
    }
}
