//! Turns a Certificate into a request for the issuer, and finds the mistakes that the schema does not see.

use super::error::CertificateError;
use crate::{api_server::call, controller::Blocked};
use adit_acme::{
    Binding, Ca, Dns01 as Dns, KeyAlgorithm as Algorithm, Proof, Request,
    dns::{InvalidTsigKey, TsigKey},
};
use adit_api::{
    Certificate, SecretKeyRef,
    certificate::{Acme, Dns01, KeyAlgorithm, KeyRotation, RENEW_ANNOTATION, Solver},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::Api;

/// How far ahead of the operator's clock a request for renewal may be, in seconds.
const MAX_CLOCK_DIFFERENCE_SECONDS: u64 = 60;

/// The issuer's name of a key algorithm.
pub(super) fn algorithm(algorithm: KeyAlgorithm) -> Algorithm {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384 => Algorithm::EcdsaP384,
        KeyAlgorithm::Rsa2048 => Algorithm::Rsa2048,
    }
}

/// When a person requested another certificate, in seconds since 1970. `None` if the annotation is absent or not an RFC 3339
/// timestamp.
fn requested_at(certificate: &Certificate) -> Option<u64> {
    let text = certificate.metadata.annotations.as_ref()?.get(RENEW_ANNOTATION)?;
    text.parse::<Timestamp>().ok().and_then(|at| u64::try_from(at.as_second()).ok())
}

/// When a person requested another certificate, once that second is over: a certificate that is issued from then on is newer
/// than the request, although times are rounded to seconds.
pub(super) fn effective_request(certificate: &Certificate, now: u64) -> Option<u64> {
    requested_at(certificate).filter(|at| *at < now)
}

/// Whether a request for another certificate takes effect within a minute: it was made a moment ago, or by a clock that is
/// ahead.
pub(super) fn is_renewal_imminent(certificate: &Certificate, now: u64) -> bool {
    requested_at(certificate).is_some_and(|at| (now..now + MAX_CLOCK_DIFFERENCE_SECONDS).contains(&at))
}

/// The value of one key of a Secret.
async fn secret_key(
    secrets: &Api<Secret>,
    field: &str,
    reference: &SecretKeyRef,
) -> Result<Vec<u8>, CertificateError> {
    let SecretKeyRef { name, key } = reference;
    let found = call("read", format!("Secret {name}"), secrets.get_opt(name)).await?;
    let missing = |what: String| Blocked::new("SecretNotFound", format!("{field}: {what} in this namespace"));
    let secret = found.ok_or_else(|| missing(format!("there is no Secret {name:?} with key {key:?}")))?;
    let value = secret.data.unwrap_or_default().remove(key);
    Ok(value.ok_or_else(|| missing(format!("Secret {name:?} has no key {key:?}")))?.0)
}

/// How control over the names is proven, with the secrets that this needs.
async fn proof(secrets: &Api<Secret>, solver: &Solver) -> Result<Proof, CertificateError> {
    Ok(match solver {
        Solver::Http01 {} => Proof::Http01,
        Solver::TlsAlpn01 {} => Proof::TlsAlpn01,
        Solver::Dns01(Dns01::Rfc2136 { server, key_name, secret_ref }) => {
            let field = "spec.acme.solver.dns01.rfc2136";
            let secret = secret_key(secrets, &format!("{field}.secretRef"), secret_ref).await?;
            let key =
                TsigKey::new(key_name, &String::from_utf8_lossy(&secret)).map_err(|error| match error {
                    InvalidTsigKey::Name => {
                        Blocked::new("InvalidSpec", format!("{field}.keyName: {key_name:?}: {error}"))
                    }
                    InvalidTsigKey::Key => {
                        let SecretKeyRef { name, key } = secret_ref;
                        Blocked::new(
                            "InvalidSecret",
                            format!("{field}.secretRef: key {key:?} of Secret {name:?}: {error}"),
                        )
                    }
                })?;
            Proof::Dns01(Dns::Rfc2136 { server: server.clone(), key })
        }
        Solver::Dns01(Dns01::HttpReq { url, secret_ref }) => {
            let login = match secret_ref {
                Some(reference) => {
                    let field = "spec.acme.solver.dns01.httpReq.secretRef";
                    let secret = secret_key(secrets, field, reference).await?;
                    Some(String::from_utf8_lossy(&secret).trim().to_owned())
                }
                None => None,
            };
            Proof::Dns01(Dns::HttpReq { url: url.clone(), login })
        }
    })
}

/// The external account binding, with its key.
async fn binding(secrets: &Api<Secret>, acme: &Acme) -> Result<Option<Binding>, CertificateError> {
    let Some(account) = &acme.external_account_binding else { return Ok(None) };
    let field = "spec.acme.externalAccountBinding.secretRef";
    let secret = secret_key(secrets, field, &account.secret_ref).await?;
    let text = String::from_utf8_lossy(&secret);
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    let key = key.ok().filter(|key| !key.is_empty()).ok_or_else(|| {
        let SecretKeyRef { name, key } = &account.secret_ref;
        Blocked::new(
            "InvalidSecret",
            format!("{field}: key {key:?} of Secret {name:?} is not a key in base64url"),
        )
    })?;
    Ok(Some(Binding { key_id: account.key_id.clone(), key }))
}

/// The request for the issuer.
pub(super) async fn request(
    certificate: &Certificate,
    id: &str,
    acme: &Acme,
    secrets: &Api<Secret>,
    now: u64,
) -> Result<Request, CertificateError> {
    let spec = &certificate.spec;
    Ok(Request {
        id: id.to_owned(),
        names: spec.dns_names.clone(),
        regions: spec.regions.clone(),
        ca: Ca {
            directory: acme.server.clone(),
            email: acme.email.clone(),
            binding: binding(secrets, acme).await?,
            bundle: acme.ca_bundle.clone(),
            profile: acme.profile.clone(),
        },
        proof: proof(secrets, &acme.solver).await?,
        algorithm: algorithm(spec.private_key.algorithm),
        rotate: spec.private_key.rotation == KeyRotation::Always,
        renew_before: spec.renew_before.map(|before| before.as_secs()),
        newer_than: effective_request(certificate, now),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_takes_effect_when_its_second_is_over() {
        let of = |text: &str| -> Certificate {
            serde_json::from_value(json!({
                "apiVersion": "adit.dev/v1alpha1", "kind": "Certificate",
                "metadata": {"name": "c", "annotations": {"adit.dev/renew": text}},
                "spec": {"dnsNames": ["a.example"], "selfSigned": {}},
            }))
            .unwrap()
        };
        let requested = of("1970-01-01T00:16:40.9Z");
        for (now, effective, imminent) in
            [(900, None, false), (990, None, true), (1000, None, true), (1001, Some(1000), false)]
        {
            let found = (effective_request(&requested, now), is_renewal_imminent(&requested, now));
            assert_eq!(found, (effective, imminent), "{now}");
        }
        assert_eq!(effective_request(&of("now"), 1000), None);
    }
}
