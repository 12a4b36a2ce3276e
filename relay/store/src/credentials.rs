//! Credentials: which key each is bound to, and which are revoked.

use crate::{
    Store, StoreError,
    connections::{statement, transaction},
    number,
    suspensions::raise_version,
    unsigned,
};
use adit_protocol::Account;

/// A credential that a relay is about to hand out or to renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundCredential {
    /// Chosen by the relay at random.
    pub id: String,
    /// Whom it admits.
    pub account: Account,
    /// The client's public key, as text.
    pub key: String,
    /// Seconds since 1970.
    pub expires: u64,
}

/// Why a credential cannot be handed out.
#[derive(Debug, thiserror::Error)]
pub enum BindCredentialError {
    /// It is revoked.
    #[error("the credential is revoked")]
    Revoked,
    /// It is bound to another key or account already.
    #[error("the credential is bound to another key")]
    Bound,
    /// The store gave no answer.
    #[error("credentials cannot be bound just now")]
    Unavailable(#[source] StoreError),
}

/// The credentials that must not be taken although they have not ended yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedCredentials {
    /// Grows with each change.
    pub version: u64,
    /// Sorted.
    pub ids: Vec<String>,
}

impl Store {
    /// Records a credential, or the later end of one that is renewed.
    pub async fn bind_credential(
        &self,
        credential: &BoundCredential,
        now: u64,
    ) -> Result<(), BindCredentialError> {
        let credential = credential.clone();
        let bound: Result<Option<bool>, StoreError> = transaction!(self, |connection| {
            sqlx::query(
                "INSERT INTO credentials (id, issuer, subject, key, bound_at, expires) \
                 VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (id) DO UPDATE SET expires = excluded.expires \
                 WHERE credentials.issuer = excluded.issuer AND credentials.subject = excluded.subject \
                   AND credentials.key = excluded.key AND credentials.revoked_at IS NULL \
                   AND credentials.expires < excluded.expires",
            )
            .bind(&credential.id)
            .bind(&credential.account.issuer)
            .bind(&credential.account.subject)
            .bind(&credential.key)
            .bind(number(now))
            .bind(number(credential.expires))
            .execute(&mut *connection)
            .await?;
            sqlx::query_scalar(
                "SELECT revoked_at IS NOT NULL FROM credentials \
                 WHERE id = $1 AND issuer = $2 AND subject = $3 AND key = $4",
            )
            .bind(&credential.id)
            .bind(&credential.account.issuer)
            .bind(&credential.account.subject)
            .bind(&credential.key)
            .fetch_optional(&mut *connection)
            .await
        });
        match bound.map_err(BindCredentialError::Unavailable)? {
            Some(false) => Ok(()),
            Some(true) => Err(BindCredentialError::Revoked),
            None => Err(BindCredentialError::Bound),
        }
    }

    /// Revokes a credential for good and wakes whoever waits for changes. Returns false when no credential has this
    /// id; one that is revoked already stays as it is.
    pub async fn revoke_credential(&self, id: &str, now: u64) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let known = transaction!(self, |connection| {
            let revoked =
                sqlx::query("UPDATE credentials SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
                    .bind(&id)
                    .bind(number(now))
                    .execute(&mut *connection)
                    .await?;
            if revoked.rows_affected() > 0 {
                raise_version!(connection, "credentials");
                Ok(true)
            } else {
                let known: Option<i64> = sqlx::query_scalar("SELECT bound_at FROM credentials WHERE id = $1")
                    .bind(&id)
                    .fetch_optional(&mut *connection)
                    .await?;
                Ok(known.is_some())
            }
        })?;
        self.wake();
        Ok(known)
    }

    /// The credentials that are revoked and have not ended at `now`, with the version of this set.
    pub async fn credentials_revoked(&self, now: u64) -> Result<RevokedCredentials, StoreError> {
        statement!(self, |connection| {
            let rows: Vec<(i64, Option<String>)> = sqlx::query_as(
                "SELECT versions.version, credentials.id FROM versions \
                 LEFT JOIN credentials ON credentials.revoked_at IS NOT NULL AND credentials.expires > $1 \
                 WHERE versions.name = 'credentials'",
            )
            .bind(number(now))
            .fetch_all(connection)
            .await?;
            let version = rows.first().map_or(0, |(version, _)| unsigned(*version));
            let mut ids: Vec<String> = rows.into_iter().filter_map(|(_, id)| id).collect();
            ids.sort_unstable();
            Ok(RevokedCredentials { version, ids })
        })
    }
}
