//! What the CA is asked about a certificate that it has issued: when to renew it (RFC 9773), to revoke it (RFC 8555,
//! section 7.6).

use crate::{
    account::account, certificate, client::Http, failure::Failure, issuer::Issuer, request::Request,
    retry::attempt,
};
use adit_store::StoredCertificate;
use instant_acme::CertificateIdentifier;

/// When the CA suggests to renew a certificate, in seconds since 1970: a moment within its window that is the same
/// whoever asks; and after how many seconds to ask again. Nothing from a CA that does not say.
pub(crate) async fn renewal(
    issuer: &Issuer,
    http: &Http,
    request: &Request,
    stored: &StoredCertificate,
) -> Result<Option<(u64, u64)>, Failure> {
    let chain = certificate::chain(&stored.chain)?;
    let Ok(id) = CertificateIdentifier::try_from(&chain[0]) else { return Ok(None) };
    let account = account(issuer, http, request).await?;
    let asked = attempt!(1, account.renewal_info(&id).await);
    let (info, again) = match asked {
        Ok(asked) => asked,
        Err(Failure::Protocol(_)) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let seconds = |at: time::OffsetDateTime| u64::try_from(at.unix_timestamp()).unwrap_or(0);
    let (start, end) = (seconds(info.suggested_window.start), seconds(info.suggested_window.end));
    let spread = u64::from_str_radix(stored.fingerprint.get(..8).unwrap_or("0"), 16).unwrap_or(0);
    let at = start + spread % end.saturating_sub(start).max(1);
    Ok(Some((at, again.as_secs())))
}

/// Revokes a certificate.
pub(crate) async fn revoke(
    issuer: &Issuer,
    http: &Http,
    request: &Request,
    stored: &StoredCertificate,
) -> Result<(), Failure> {
    let chain = certificate::chain(&stored.chain)?;
    let account = account(issuer, http, request).await?;
    let wanted = instant_acme::RevocationRequest {
        certificate: &chain[0],
        reason: Some(instant_acme::RevocationReason::CessationOfOperation),
    };
    match attempt!(1, account.revoke(&wanted).await) {
        Err(Failure::Ca(refused)) if refused.kind == "alreadyRevoked" => Ok(()),
        done => done,
    }
}
