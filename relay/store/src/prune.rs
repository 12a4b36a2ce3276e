//! Deletes rows that have expired.

use crate::{Store, StoreError, connections::statement, number};

const DAY: u64 = 24 * 60 * 60;

/// The time for which an ended token, credential or suspension is kept; longer than clocks differ.
const ENDED_RETENTION_SECONDS: u64 = DAY;

/// The time for which the generation of a free name is kept; longer than any ticket or session lives.
const FREE_NAME_RETENTION_SECONDS: u64 = 30 * DAY;

/// The maximum number of rows of each kind that one call deletes. The statements below repeat it.
const MAX_ROWS: u64 = 1000;

/// The number of rows that [`Store::prune`] deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Marks of used tokens that ended a day ago.
    pub used_tokens: u64,
    /// Credentials that ended a day ago.
    pub credentials: u64,
    /// Names that anyone could have had for 30 days.
    pub names: u64,
}

impl Pruned {
    /// Whether the call reached the maximum of a kind, so that there may be more.
    pub fn is_full(&self) -> bool {
        [self.used_tokens, self.credentials, self.names].contains(&MAX_ROWS)
    }
}

impl Store {
    /// Deletes expired rows, at most 1,000 of each kind to keep the call short. Called every few minutes; several relays may
    /// call it at once.
    pub async fn prune(&self, now: u64) -> Result<Pruned, StoreError> {
        let ended = now.saturating_sub(ENDED_RETENTION_SECONDS);
        let free = now.saturating_sub(FREE_NAME_RETENTION_SECONDS);
        let used_tokens = statement!(self, |connection| {
            let done = sqlx::query(
                "DELETE FROM used_tokens WHERE (issuer, token_id) IN \
                 (SELECT issuer, token_id FROM used_tokens WHERE expires < $1 LIMIT 1000)",
            )
            .bind(number(ended))
            .execute(connection)
            .await?;
            Ok(done.rows_affected())
        })?;
        let credentials = statement!(self, |connection| {
            let done = sqlx::query(
                "DELETE FROM credentials WHERE id IN (SELECT id FROM credentials WHERE expires < $1 LIMIT 1000)",
            )
            .bind(number(ended))
            .execute(connection)
            .await?;
            Ok(done.rows_affected())
        })?;
        // The end is looked at twice: the name may have been reserved anew since the inner statement found it.
        let names = statement!(self, |connection| {
            let done = sqlx::query(
                "DELETE FROM reservations WHERE quarantine_until < $1 AND endpoint IN \
                 (SELECT endpoint FROM reservations WHERE quarantine_until < $1 LIMIT 1000)",
            )
            .bind(number(free))
            .execute(connection)
            .await?;
            Ok(done.rows_affected())
        })?;
        Ok(Pruned { used_tokens, credentials, names })
    }
}
