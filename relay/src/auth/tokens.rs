//! Verification of tokens.

use super::{
    KeySetError, Keys, Permissions, PublicKeys, TokenError,
    claim::CLOCK_LEEWAY_SECONDS,
    mint::{MAX_ID_BYTES, MAX_TTL_SECONDS},
    public_keys::KeyFile,
    token::Token,
};
use adit_config::{Access, problem::quoted};
use adit_protocol::{Account, account::MANAGED_ISSUER};
use std::path::PathBuf;

/// The account and permissions that a valid token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The account.
    pub account: Account,
    /// Its `jti`. Managed tokens have one: the caller makes sure that each is used once.
    pub token_id: Option<String>,
    /// Whether it is one of the provider's own.
    pub managed: bool,
    /// When it ends, in seconds since 1970. It was good until a minute later.
    pub expires: u64,
    /// The permissions.
    pub permissions: Permissions,
}

/// Issuers whose keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IssuerKeysError {
    /// The file of an issuer's keys.
    #[error("{} with the keys of {issuer}", file.display())]
    Keys {
        /// The issuer.
        issuer: String,
        /// The file.
        file: PathBuf,
        /// The cause.
        source: KeySetError,
    },
}

/// Verifies tokens. Issuers' keys are read again when their file changes.
#[derive(Debug)]
pub struct TokenVerifier(TrustRule);

#[derive(Debug)]
enum TrustRule {
    Managed { keys: PublicKeys, audience: String },
    Issuers(Vec<TrustedIssuer>),
}

#[derive(Debug)]
struct TrustedIssuer {
    issuer: String,
    audience: String,
    keys: KeyFile,
}

impl TokenVerifier {
    /// The tokens that a configuration accepts. Managed ones have the region's domain as their audience.
    ///
    /// # Errors
    /// An issuer's keys cannot be read: [`IssuerKeysError`].
    pub fn new(access: &Access, keys: &Keys, domain: &str) -> Result<Self, IssuerKeysError> {
        Ok(Self(match &access.tokens {
            adit_config::Tokens::Managed {} => {
                TrustRule::Managed { keys: keys.tokens.public(), audience: domain.to_owned() }
            }
            adit_config::Tokens::Issuers(issuers) => {
                TrustRule::Issuers(issuers.iter().map(TrustedIssuer::open).collect::<Result<_, _>>()?)
            }
        }))
    }

    /// Verifies a token at `now`, in seconds since 1970. The caller checks whether it was used before.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: u64) -> Result<TokenGrant, TokenError> {
        let token = Token::parse(token)?;
        let issuer = token.text("iss")?;
        let unknown = || TokenError::Issuer(issuer.to_owned());
        match &self.0 {
            TrustRule::Managed { keys, audience } => {
                if issuer != MANAGED_ISSUER {
                    return Err(unknown());
                }
                keys.verify(&token)?;
                managed(&token, audience, now)
            }
            TrustRule::Issuers(issuers) => {
                let trusted = issuers.iter().find(|trusted| trusted.issuer == issuer).ok_or_else(unknown)?;
                trusted.keys.keys().verify(&token)?;
                foreign(&token, trusted, now)
            }
        }
    }
}

impl TrustedIssuer {
    fn open(issuer: &adit_config::Issuer) -> Result<Self, IssuerKeysError> {
        let keys = KeyFile::open(&issuer.keys).map_err(|source| IssuerKeysError::Keys {
            issuer: issuer.issuer.clone(),
            file: issuer.keys.clone(),
            source,
        })?;
        Ok(Self { issuer: issuer.issuer.clone(), audience: issuer.audience.clone(), keys })
    }
}

fn managed(token: &Token<'_>, audience: &str, now: u64) -> Result<TokenGrant, TokenError> {
    token.check_audience(audience)?;
    let expires = token.check_times(now)?;
    // The mark that a token has been used is kept until its end: none lasts long.
    if expires > now.saturating_add(MAX_TTL_SECONDS + CLOCK_LEEWAY_SECONDS) {
        let text = format!("exp: is more than {MAX_TTL_SECONDS} s from now");
        return Err(TokenError::Claims(text));
    }
    let account = account(MANAGED_ISSUER, token.text("sub")?)?;
    let id = token.text("jti")?;
    if id.len() > MAX_ID_BYTES {
        return Err(TokenError::Claims(format!("jti: has more than {MAX_ID_BYTES} bytes")));
    }
    let permissions = token.permissions(Permissions::managed())?;
    Ok(TokenGrant { account, token_id: Some(id.to_owned()), managed: true, expires, permissions })
}

fn foreign(token: &Token<'_>, trusted: &TrustedIssuer, now: u64) -> Result<TokenGrant, TokenError> {
    token.check_audience(&trusted.audience)?;
    let expires = token.check_times(now)?;
    let account = account(&trusted.issuer, token.text("sub")?)?;
    let token_id = token.text("jti").ok().map(str::to_owned);
    let permissions = token.permissions(Permissions::foreign())?;
    Ok(TokenGrant { account, token_id, managed: false, expires, permissions })
}

fn account(issuer: &str, subject: &str) -> Result<Account, TokenError> {
    let account = Account { issuer: issuer.to_owned(), subject: subject.to_owned() };
    if account.is_valid() {
        return Ok(account);
    }
    let rule = if issuer == MANAGED_ISSUER { "'|' or " } else { "" };
    Err(TokenError::Claims(format!(
        "sub: {} has {rule}control characters, or more than {} bytes together with iss",
        quoted(subject),
        Account::MAX_BYTES
    )))
}
