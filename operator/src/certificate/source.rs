//! Certificates that no CA is asked for: those of a Secret, and those that are their own CA.

use super::request::{RequestError, Wrong, algorithm, asked_at};
use crate::objects::{MANAGED_BY, MANAGER};
use adit_acme::{Failure, Issuer, Spread, certificate, decide::renewal_time, digest};
use adit_api::{Certificate, SecretRef};
use adit_store::StoredCertificate;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Why it is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The Certificate or its Secret is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It could not be published.
    #[error(transparent)]
    Publish(#[from] Failure),
}

impl From<Wrong> for SourceError {
    fn from(wrong: Wrong) -> Self {
        Self::Request(wrong.into())
    }
}

fn spread<'a>(found: &'a Certificate, id: &'a str, kind: &str) -> Spread<'a> {
    let spec = &found.spec;
    let mut names: Vec<&str> = spec.dns_names.iter().map(String::as_str).collect();
    names.sort_unstable();
    let algorithm = format!("{:?}", spec.private_key.algorithm);
    let made_for = digest(&[&[kind, algorithm.as_str()], names.as_slice()].concat());
    Spread { id, names: &spec.dns_names, regions: &spec.regions, made_for }
}

/// Has relays serve what a Secret has.
pub(super) async fn of_secret(
    found: &Certificate,
    id: &str,
    reference: &SecretRef,
    secrets: &Api<Secret>,
    issuer: &Issuer,
) -> Result<StoredCertificate, SourceError> {
    let name = &reference.name;
    let read = secrets.get_opt(name).await.map_err(|error| RequestError::Read(Box::new(error)))?;
    let not_found =
        || Wrong::new("SecretNotFound", format!("spec.secretRef: no Secret {name:?} in this namespace"));
    let secret = read.ok_or_else(not_found)?;
    if secret.type_.as_deref() != Some("kubernetes.io/tls") {
        let kind = secret.type_.as_deref().unwrap_or_default();
        let message =
            format!("spec.secretRef: Secret {name:?} is of the type {kind:?}, not kubernetes.io/tls");
        return Err(Wrong::new("InvalidSecret", message).into());
    }
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| {
        data.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
    };
    let spread = spread(found, id, "secretRef");
    match issuer.publish(&spread, &text("tls.crt"), &text("tls.key")).await {
        Err(Failure::Unfit(unfit)) => {
            let message = format!("spec.secretRef: Secret {name:?}: {unfit}");
            Err(Wrong::new("InvalidSecret", message).into())
        }
        published => Ok(published?),
    }
}

/// Writes a certificate and its key into the Secret that the Certificate names, unless they are there.
pub(super) async fn into_secret(
    found: &Certificate,
    stored: &StoredCertificate,
    secrets: &Api<Secret>,
    issuer: &Issuer,
) -> Result<(), SourceError> {
    let Some(name) = &found.spec.secret_name else { return Ok(()) };
    let failed = |error| RequestError::Read(Box::new(error));
    let there = secrets.get_opt(name).await.map_err(failed)?;
    let is_ours = |secret: &Secret| {
        secret
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| Some(&owner.uid) == found.metadata.uid.as_ref())
    };
    if let Some(secret) = &there {
        if !is_ours(secret) {
            let message = format!(
                "spec.secretName: there is a Secret {name:?} already, and it is not this Certificate's"
            );
            return Err(Wrong::new("SecretTaken", message).into());
        }
        let has = secret.data.as_ref().and_then(|data| data.get("tls.crt"));
        if has.is_some_and(|has| has.0 == stored.chain.as_bytes()) {
            return Ok(());
        }
    }
    let (Some(key), Some(owner)) = (issuer.open_key(&stored.id).await?, found.controller_owner_ref(&()))
    else {
        return Ok(());
    };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": name, "ownerReferences": [owner], "labels": BTreeMap::from([MANAGED_BY]) },
        "stringData": { "tls.crt": stored.chain, "tls.key": key },
    });
    let params = PatchParams::apply(MANAGER).force();
    secrets.patch(name, &params, &Patch::Apply(&secret)).await.map_err(failed)?;
    Ok(())
}

/// Has relays serve one that its own key has signed.
pub(super) async fn self_signed(
    found: &Certificate,
    id: &str,
    issuer: &Issuer,
    now: u64,
) -> Result<StoredCertificate, SourceError> {
    let spread = spread(found, id, "selfSigned");
    let stored = issuer.store.certificate(id).await.map_err(Failure::from)?;
    let renew_before = found.spec.renew_before.map(|before| before.as_secs());
    let asked = asked_at(found, now);
    let good = stored.filter(|stored| {
        stored.made_for == spread.made_for
            && renewal_time(stored, None, renew_before) > now
            && asked.is_none_or(|asked| asked < stored.issued_at)
    });
    if let Some(stored) = good
        && let Some(key) = issuer.open_key(id).await?
    {
        return Ok(issuer.publish(&spread, &stored.chain, &key).await?);
    }
    let made = certificate::self_signed(
        &found.spec.dns_names,
        algorithm(found.spec.private_key.algorithm),
        OffsetDateTime::now_utc(),
    );
    let (chain, key) = made.map_err(Failure::from)?;
    Ok(issuer.publish(&spread, &chain, &key).await?)
}
