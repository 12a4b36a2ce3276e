//! Tokens, each of which can be exchanged for a credential once.

use crate::{Store, StoreError, connections::statement, number};
use adit_protocol::Account;

/// The seconds for which the same key may use a token again, because the answer to the first use may have been lost.
pub const TOKEN_REPEAT_SECONDS: u64 = 60;

/// A token that is refused.
#[derive(Debug, thiserror::Error)]
pub enum UseTokenError {
    /// It was used by another key, or too long ago.
    #[error("the token has been used")]
    Used,
    /// The store did not answer. The token must be refused, and the client may retry.
    #[error("the store cannot check the token")]
    Unavailable(#[source] StoreError),
}

impl Store {
    /// Marks a token as used. `token_id` is unique for the account's issuer, `key` is the client's public key as text,
    /// `expires` is the token's end: the mark is kept until a day after it. The same key may use the token again
    /// within [`TOKEN_REPEAT_SECONDS`].
    pub async fn use_token(
        &self,
        account: &Account,
        token_id: &str,
        key: &str,
        expires: u64,
        now: u64,
    ) -> Result<(), UseTokenError> {
        let (account, token_id, key) = (account.clone(), token_id.to_owned(), key.to_owned());
        let first_or_repeated: Result<bool, StoreError> = statement!(self, |connection| {
            let used_at: Option<i64> = sqlx::query_scalar(
                "INSERT INTO used_tokens (issuer, token_id, subject, key, used_at, expires) \
                 VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (issuer, token_id) DO UPDATE SET key = excluded.key \
                 WHERE used_tokens.subject = excluded.subject AND used_tokens.key = excluded.key \
                   AND used_tokens.used_at + $7 >= excluded.used_at \
                 RETURNING used_at",
            )
            .bind(&account.issuer)
            .bind(&token_id)
            .bind(&account.subject)
            .bind(&key)
            .bind(number(now))
            .bind(number(expires))
            .bind(number(TOKEN_REPEAT_SECONDS))
            .fetch_optional(connection)
            .await?;
            Ok(used_at.is_some())
        });
        match first_or_repeated {
            Ok(true) => Ok(()),
            Ok(false) => Err(UseTokenError::Used),
            Err(error) => Err(UseTokenError::Unavailable(error)),
        }
    }
}
