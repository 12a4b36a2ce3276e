//! From a Certificate to what the issuer understands. What a schema cannot say is said here.

use super::RENEW_ANNOTATION;
use adit_acme::{
    Binding, Ca, Dns01 as Dns, KeyAlgorithm as Algorithm, Proof, Request,
    dns::{InvalidTsigKey, TsigKey},
};
use adit_api::{
    Certificate, SecretKeyRef,
    certificate::{Acme, Dns01, KeyAlgorithm, KeyRotation, Solver},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::Api;

/// What keeps a Certificate from being issued, in words for a person: field, value, rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// One word in CamelCase.
    pub(super) reason: &'static str,
    /// What is wrong.
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The Certificate is wrong.
    #[error("{}", .0.message)]
    Wrong(Wrong),
    /// The API server did not say.
    #[error("cannot read a Secret")]
    Read(#[source] Box<kube::Error>),
}

impl From<Wrong> for RequestError {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

pub(super) fn algorithm(algorithm: KeyAlgorithm) -> Algorithm {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384 => Algorithm::EcdsaP384,
        KeyAlgorithm::Rsa2048 => Algorithm::Rsa2048,
    }
}

/// When a person has asked for another certificate, in seconds since 1970. What is no time is none.
fn wish(certificate: &Certificate) -> Option<u64> {
    let text = certificate.metadata.annotations.as_ref()?.get(RENEW_ANNOTATION)?;
    text.parse::<Timestamp>().ok().and_then(|at| u64::try_from(at.as_second()).ok())
}

/// The same, once that second is over: what is issued from then on is newer than the wish, whatever is rounded.
pub(super) fn asked_at(certificate: &Certificate, now: u64) -> Option<u64> {
    wish(certificate).filter(|at| *at < now)
}

/// Whether a person's wish is to be followed within a minute: it was made a moment ago, or by a clock that is ahead.
pub(super) fn is_asked_soon(certificate: &Certificate, now: u64) -> bool {
    wish(certificate).is_some_and(|at| (now..now + 60).contains(&at))
}

/// One key of a Secret.
async fn secret_key(
    secrets: &Api<Secret>,
    field: &str,
    reference: &SecretKeyRef,
) -> Result<Vec<u8>, RequestError> {
    let found =
        secrets.get_opt(&reference.name).await.map_err(|error| RequestError::Read(Box::new(error)))?;
    let SecretKeyRef { name, key } = reference;
    let missing = |what: &str| {
        let message = format!("{field}: no Secret {name:?} with key {key:?} in this namespace{what}");
        Wrong::new("SecretNotFound", message)
    };
    let secret = found.ok_or_else(|| missing(""))?;
    let value = secret.data.unwrap_or_default().remove(key);
    Ok(value.ok_or_else(|| missing(": the Secret is there, the key is not"))?.0)
}

async fn proof(secrets: &Api<Secret>, solver: &Solver) -> Result<Proof, RequestError> {
    Ok(match solver {
        Solver::Http01 {} => Proof::Http01,
        Solver::TlsAlpn01 {} => Proof::TlsAlpn01,
        Solver::Dns01(Dns01::Rfc2136 { server, key_name, secret_ref }) => {
            let field = "spec.acme.solver.dns01.rfc2136";
            let secret = secret_key(secrets, &format!("{field}.secretRef"), secret_ref).await?;
            let key =
                TsigKey::new(key_name, &String::from_utf8_lossy(&secret)).map_err(|error| match error {
                    InvalidTsigKey::Name => {
                        Wrong::new("InvalidSpec", format!("{field}.keyName: {key_name:?}: {error}"))
                    }
                    InvalidTsigKey::Key => {
                        let SecretKeyRef { name, key } = secret_ref;
                        Wrong::new(
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

async fn binding(secrets: &Api<Secret>, acme: &Acme) -> Result<Option<Binding>, RequestError> {
    let Some(account) = &acme.external_account_binding else { return Ok(None) };
    let field = "spec.acme.externalAccountBinding.secretRef";
    let secret = secret_key(secrets, field, &account.secret_ref).await?;
    let text = String::from_utf8_lossy(&secret);
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    let key = key.ok().filter(|key| !key.is_empty()).ok_or_else(|| {
        let SecretKeyRef { name, key } = &account.secret_ref;
        Wrong::new(
            "InvalidSecret",
            format!("{field}: key {key:?} of Secret {name:?} is not a key in base64url"),
        )
    })?;
    Ok(Some(Binding { key_id: account.key_id.clone(), key }))
}

/// What the issuer is asked for.
pub(super) async fn request(
    certificate: &Certificate,
    id: &str,
    acme: &Acme,
    secrets: &Api<Secret>,
    now: u64,
) -> Result<Request, RequestError> {
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
        newer_than: asked_at(certificate, now),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wish_is_followed_when_its_second_is_over_so_that_nothing_is_issued_twice_for_it() {
        let of = |text: &str| -> Certificate {
            serde_json::from_value(json!({
                "apiVersion": "adit.dev/v1alpha1", "kind": "Certificate",
                "metadata": {"name": "c", "annotations": {"adit.dev/renew": text}},
                "spec": {"dnsNames": ["a.example"], "selfSigned": {}},
            }))
            .unwrap()
        };
        let wished = of("1970-01-01T00:16:40.9Z");
        for (now, asked, soon) in
            [(900, None, false), (990, None, true), (1000, None, true), (1001, Some(1000), false)]
        {
            assert_eq!((asked_at(&wished, now), is_asked_soon(&wished, now)), (asked, soon), "{now}");
        }
        assert_eq!(asked_at(&of("now"), 1000), None);
    }
}
