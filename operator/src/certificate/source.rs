//! Certificates that do not come from a CA: those of a Secret, and self-signed ones.

use super::{
    error::CertificateError,
    request::{algorithm, effective_request},
};
use crate::{
    api_server::call,
    controller::Blocked,
    objects::{MANAGED_BY, MANAGER},
};
use adit_acme::{Distribution, IssueError, Issuer, certificate, decide::renewal_time, digest};
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

/// Where a certificate is published.
fn target<'a>(object: &'a Certificate, id: &'a str, kind: &str) -> Distribution<'a> {
    let spec = &object.spec;
    let mut names: Vec<&str> = spec.dns_names.iter().map(String::as_str).collect();
    names.sort_unstable();
    let algorithm = format!("{:?}", spec.private_key.algorithm);
    let made_for = digest(&[&[kind, algorithm.as_str()], names.as_slice()].concat());
    Distribution { id, names: &spec.dns_names, regions: &spec.regions, made_for }
}

/// Publishes the certificate of a Secret to relays.
pub(super) async fn publish_secret(
    object: &Certificate,
    id: &str,
    reference: &SecretRef,
    secrets: &Api<Secret>,
    issuer: &Issuer,
) -> Result<StoredCertificate, CertificateError> {
    let name = &reference.name;
    let found = call("read", format!("Secret {name}"), secrets.get_opt(name)).await?;
    let not_found = || {
        let message = format!("spec.secretRef: there is no Secret {name:?} in this namespace");
        Blocked::new("SecretNotFound", message)
    };
    let secret = found.ok_or_else(not_found)?;
    if secret.type_.as_deref() != Some("kubernetes.io/tls") {
        let kind = secret.type_.as_deref().unwrap_or_default();
        let message = format!("spec.secretRef: Secret {name:?} has the type {kind:?}, not kubernetes.io/tls");
        return Err(Blocked::new("InvalidSecret", message).into());
    }
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| {
        data.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
    };
    let target = target(object, id, "secretRef");
    match issuer.publish(&target, &text("tls.crt"), &text("tls.key")).await {
        Err(IssueError::InvalidCertificate(unfit)) => {
            let message = format!("spec.secretRef: Secret {name:?}: {unfit}");
            Err(Blocked::new("InvalidSecret", message).into())
        }
        published => Ok(published?),
    }
}

/// Writes the certificate and its key to the Secret that `spec.secretName` names, unless the Secret has them.
pub(super) async fn copy_to_secret(
    object: &Certificate,
    stored: &StoredCertificate,
    secrets: &Api<Secret>,
    issuer: &Issuer,
) -> Result<(), CertificateError> {
    let Some(name) = &object.spec.secret_name else { return Ok(()) };
    let existing = call("read", format!("Secret {name}"), secrets.get_opt(name)).await?;
    let is_own = |secret: &Secret| {
        secret
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| Some(&owner.uid) == object.metadata.uid.as_ref())
    };
    if let Some(secret) = &existing {
        if !is_own(secret) {
            let message = format!(
                "spec.secretName: Secret {name:?} exists already and does not belong to this Certificate"
            );
            return Err(Blocked::new("SecretTaken", message).into());
        }
        let chain = secret.data.as_ref().and_then(|data| data.get("tls.crt"));
        if chain.is_some_and(|chain| chain.0 == stored.chain.as_bytes()) {
            return Ok(());
        }
    }
    let (Some(key), Some(owner)) = (issuer.open_key(&stored.id).await?, object.controller_owner_ref(&()))
    else {
        return Ok(());
    };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": name, "ownerReferences": [owner], "labels": BTreeMap::from([MANAGED_BY]) },
        "stringData": { "tls.crt": stored.chain, "tls.key": key },
    });
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&secret);
    call("apply", format!("Secret {name}"), secrets.patch(name, &params, &patch)).await?;
    Ok(())
}

/// Publishes a self-signed certificate to relays: the stored one, or a new one if that is due.
pub(super) async fn self_signed(
    object: &Certificate,
    id: &str,
    issuer: &Issuer,
    now: u64,
) -> Result<StoredCertificate, CertificateError> {
    let target = target(object, id, "selfSigned");
    let stored = issuer.store.certificate(id).await.map_err(IssueError::from)?;
    let renew_before = object.spec.renew_before.map(|before| before.as_secs());
    let requested = effective_request(object, now);
    let valid = stored.filter(|stored| {
        stored.made_for == target.made_for
            && renewal_time(stored, None, renew_before) > now
            && requested.is_none_or(|requested| requested < stored.issued_at)
    });
    if let Some(stored) = valid
        && let Some(key) = issuer.open_key(id).await?
    {
        return Ok(issuer.publish(&target, &stored.chain, &key).await?);
    }
    let made = certificate::self_signed(
        &object.spec.dns_names,
        algorithm(object.spec.private_key.algorithm),
        OffsetDateTime::now_utc(),
    );
    let (chain, key) = made.map_err(IssueError::from)?;
    Ok(issuer.publish(&target, &chain, &key).await?)
}
