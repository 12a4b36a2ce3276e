//! Requests about an issued certificate: renewal information (RFC 9773) and revocation (RFC 8555 section 7.6).

use crate::{
    account::account, certificate, client::Http, error::IssueError, issuer::Issuer, request::Request,
    retry::attempt,
};
use adit_store::StoredCertificate;
use instant_acme::CertificateIdentifier;

/// The time at which the CA suggests to renew a certificate, in seconds since 1970, and the seconds until the next request
/// for it. The time is a point of the CA's window that depends only on the certificate. `None` if the CA has no renewal
/// information.
pub(crate) async fn window(
    issuer: &Issuer,
    http: &Http,
    request: &Request,
    stored: &StoredCertificate,
) -> Result<Option<(u64, u64)>, IssueError> {
    let chain = certificate::chain(&stored.chain)?;
    let Ok(id) = CertificateIdentifier::try_from(&chain[0]) else { return Ok(None) };
    let account = account(issuer, http, request).await?;
    let asked = attempt!(1, account.renewal_info(&id).await);
    let (info, again) = match asked {
        Ok(asked) => asked,
        Err(IssueError::Protocol(_)) => return Ok(None),
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
) -> Result<(), IssueError> {
    let chain = certificate::chain(&stored.chain)?;
    let account = account(issuer, http, request).await?;
    let wanted = instant_acme::RevocationRequest {
        certificate: &chain[0],
        reason: Some(instant_acme::RevocationReason::CessationOfOperation),
    };
    match attempt!(1, account.revoke(&wanted).await) {
        Err(IssueError::Ca(refused)) if refused.kind == "alreadyRevoked" => Ok(()),
        done => done,
    }
}
