//! Taking out what no longer matters to anyone.

use crate::{Store, StoreError, connections::statement, number};

const DAY: u64 = 24 * 60 * 60;

/// How long an ended token, credential or suspension is kept, beyond any difference between clocks.
const ENDED_SECONDS: u64 = DAY;

/// How long a free name's generation is remembered. No ticket or session that knows it lives nearly as long.
const FREE_NAME_SECONDS: u64 = 30 * DAY;

/// The most rows of each kind that one call takes out; the statements below say it too.
const MOST: u64 = 1000;

/// How many rows [`Store::prune`] took out.
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
    /// Whether the call took out as many of a kind as it may: there may be more.
    pub fn is_full(&self) -> bool {
        [self.used_tokens, self.credentials, self.names].contains(&MOST)
    }
}

impl Store {
    /// Takes out what has ended, at most 1,000 rows of each kind, so that the call stays short; to be called every
    /// few minutes. Several relays may do so at once.
    pub async fn prune(&self, now: u64) -> Result<Pruned, StoreError> {
        let ended = now.saturating_sub(ENDED_SECONDS);
        let free = now.saturating_sub(FREE_NAME_SECONDS);
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
