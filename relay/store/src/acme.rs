//! The state of ACME: accounts, orders, challenges and failed validations.

use crate::{
    Store, StoreError,
    connections::{statement, transaction},
    fences::{Fence, HELD},
    number,
    suspensions::raise_version,
    unsigned,
};
use sqlx::Row;

/// The pending order of a certificate, and the result of the last attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredOrder {
    /// The certificate's id.
    pub certificate: String,
    /// The digest of the request: an order of another request is not continued.
    pub made_for: String,
    /// The URL of the order at the CA; absent between two orders.
    pub url: Option<String>,
    /// The private key of the certificate, sealed to the issuer.
    pub key: Option<String>,
    /// The time of the order in seconds since 1970.
    pub ordered_at: u64,
    /// Its ACME status.
    pub state: String,
    /// Its challenges as JSON, for display.
    pub challenges: String,
    /// The error of the last attempt, with the CA's details.
    pub problem: Option<String>,
    /// The number of failed attempts in a row.
    pub failures: u64,
    /// The earliest time of the next attempt in seconds since 1970.
    pub next_attempt: u64,
    /// The time at which the CA suggests to renew the certificate, in seconds since 1970.
    pub renewal_at: Option<u64>,
    /// The time of the next request for renewal information, in seconds since 1970.
    pub renewal_asked: u64,
}

/// The type of a challenge that relays answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A text at a path on port 80.
    Http01,
    /// A certificate for the ALPN name `acme-tls/1`.
    TlsAlpn01,
}

impl ChallengeKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http01",
            Self::TlsAlpn01 => "tlsAlpn01",
        }
    }
}

/// A challenge that relays answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChallenge {
    /// The type.
    pub kind: ChallengeKind,
    /// The name that the CA validates.
    pub name: String,
    /// The CA's token.
    pub token: String,
    /// The key authorization (RFC 8555 section 8.1).
    pub answer: String,
    /// The time after which it is not answered, in seconds since 1970.
    pub expires: u64,
}

/// All open challenges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChallengeSet {
    /// Grows with each change.
    pub version: u64,
    /// The challenges, sorted by name.
    pub list: Vec<StoredChallenge>,
}

impl Store {
    /// The credentials of an account at a CA, sealed to the issuer.
    pub async fn acme_account(&self, id: &str) -> Result<Option<String>, StoreError> {
        let id = id.to_owned();
        statement!(self, |connection| {
            sqlx::query_scalar("SELECT credentials FROM acme_accounts WHERE id = $1")
                .bind(&id)
                .fetch_optional(connection)
                .await
        })
    }

    /// Stores the credentials of an account unless it has some: the first writer wins. `None` removes the account.
    pub async fn put_acme_account(&self, id: &str, credentials: Option<&str>) -> Result<(), StoreError> {
        let (id, credentials) = (id.to_owned(), credentials.map(str::to_owned));
        statement!(self, |connection| {
            match &credentials {
                Some(credentials) => {
                    sqlx::query(
                        "INSERT INTO acme_accounts (id, credentials) VALUES ($1, $2) \
                         ON CONFLICT (id) DO NOTHING",
                    )
                    .bind(&id)
                    .bind(credentials)
                    .execute(connection)
                    .await?;
                }
                None => {
                    sqlx::query("DELETE FROM acme_accounts WHERE id = $1")
                        .bind(&id)
                        .execute(connection)
                        .await?;
                }
            }
            Ok(())
        })
    }

    /// The order of a certificate.
    pub async fn acme_order(&self, certificate: &str) -> Result<Option<StoredOrder>, StoreError> {
        let certificate = certificate.to_owned();
        statement!(self, |connection| {
            let row = sqlx::query(
                "SELECT certificate, made_for, url, key, ordered_at, state, challenges, problem, failures, \
                   next_attempt, renewal_at, renewal_asked FROM acme_orders WHERE certificate = $1",
            )
            .bind(&certificate)
            .fetch_optional(connection)
            .await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(StoredOrder {
                certificate: row.try_get(0)?,
                made_for: row.try_get(1)?,
                url: row.try_get(2)?,
                key: row.try_get(3)?,
                ordered_at: unsigned(row.try_get(4)?),
                state: row.try_get(5)?,
                challenges: row.try_get(6)?,
                problem: row.try_get(7)?,
                failures: unsigned(row.try_get(8)?),
                next_attempt: unsigned(row.try_get(9)?),
                renewal_at: row.try_get::<Option<i64>, _>(10)?.map(unsigned),
                renewal_asked: unsigned(row.try_get(11)?),
            }))
        })
    }

    /// Stores an order in place of the last one. Returns whether the fence was held; otherwise nothing is written.
    pub async fn put_acme_order(&self, order: &StoredOrder, fence: &Fence) -> Result<bool, StoreError> {
        let (order, fence) = (order.clone(), fence.clone());
        transaction!(self, |connection| {
            let held: Option<i64> = sqlx::query_scalar(HELD)
                .bind(&fence.name)
                .bind(number(fence.epoch))
                .fetch_optional(&mut *connection)
                .await?;
            if held.is_none() {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO acme_orders (certificate, made_for, url, key, ordered_at, state, challenges, problem, \
                   failures, next_attempt, renewal_at, renewal_asked) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                 ON CONFLICT (certificate) DO UPDATE SET made_for = excluded.made_for, url = excluded.url, \
                   key = excluded.key, ordered_at = excluded.ordered_at, state = excluded.state, \
                   challenges = excluded.challenges, problem = excluded.problem, failures = excluded.failures, \
                   next_attempt = excluded.next_attempt, renewal_at = excluded.renewal_at, \
                   renewal_asked = excluded.renewal_asked",
            )
            .bind(&order.certificate)
            .bind(&order.made_for)
            .bind(&order.url)
            .bind(&order.key)
            .bind(number(order.ordered_at))
            .bind(&order.state)
            .bind(&order.challenges)
            .bind(&order.problem)
            .bind(number(order.failures))
            .bind(number(order.next_attempt))
            .bind(order.renewal_at.map(number))
            .bind(number(order.renewal_asked))
            .execute(&mut *connection)
            .await?;
            Ok(true)
        })
    }

    /// Stores the challenges of a certificate for relays to answer, in place of the last ones. Returns the first version of
    /// the set with them.
    pub async fn put_challenges(
        &self,
        certificate: &str,
        challenges: &[StoredChallenge],
        now: u64,
    ) -> Result<u64, StoreError> {
        let (certificate, challenges) = (certificate.to_owned(), challenges.to_vec());
        let version = transaction!(self, |connection| {
            sqlx::query("DELETE FROM acme_challenges WHERE certificate = $1 OR expires <= $2")
                .bind(&certificate)
                .bind(number(now))
                .execute(&mut *connection)
                .await?;
            for one in &challenges {
                sqlx::query(
                    "INSERT INTO acme_challenges (certificate, kind, name, token, answer, expires) \
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(&certificate)
                .bind(one.kind.as_str())
                .bind(&one.name)
                .bind(&one.token)
                .bind(&one.answer)
                .bind(number(one.expires))
                .execute(&mut *connection)
                .await?;
            }
            Ok(unsigned(raise_version!(connection, "challenges")))
        })?;
        self.wake();
        Ok(version)
    }

    /// All open challenges.
    pub async fn challenges(&self, now: u64) -> Result<ChallengeSet, StoreError> {
        statement!(self, |connection| {
            let rows = sqlx::query(
                "SELECT v.version, c.kind, c.name, c.token, c.answer, c.expires FROM versions v \
                   LEFT JOIN acme_challenges c ON c.expires > $1 \
                 WHERE v.name = 'challenges' ORDER BY c.name, c.token",
            )
            .bind(number(now))
            .fetch_all(connection)
            .await?;
            let mut set = ChallengeSet::default();
            for row in &rows {
                set.version = unsigned(row.try_get(0)?);
                let Some(kind) = row.try_get::<Option<String>, _>(1)? else { continue };
                let kind = match kind.as_str() {
                    "http01" => ChallengeKind::Http01,
                    "tlsAlpn01" => ChallengeKind::TlsAlpn01,
                    // One of a later version, which this one cannot answer.
                    _ => continue,
                };
                set.list.push(StoredChallenge {
                    kind,
                    name: row.try_get(2)?,
                    token: row.try_get(3)?,
                    answer: row.try_get(4)?,
                    expires: unsigned(row.try_get(5)?),
                });
            }
            Ok(set)
        })
    }

    /// Notes a failed validation of a name, once for each id, and deletes those older than a day.
    pub async fn note_failed_validation(
        &self,
        id: &str,
        directory: &str,
        name: &str,
        now: u64,
    ) -> Result<(), StoreError> {
        let (id, directory, name) = (id.to_owned(), directory.to_owned(), name.to_owned());
        transaction!(self, |connection| {
            sqlx::query("DELETE FROM ca_ledger WHERE failed_at < $1")
                .bind(number(now.saturating_sub(24 * 3600)))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "INSERT INTO ca_ledger (id, directory, name, failed_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(&id)
            .bind(&directory)
            .bind(&name)
            .bind(number(now))
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    }

    /// The times of the failed validations of a name at a CA since a time, the newest first.
    pub async fn failed_validations(
        &self,
        directory: &str,
        name: &str,
        since: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let (directory, name) = (directory.to_owned(), name.to_owned());
        statement!(self, |connection| {
            let times: Vec<i64> = sqlx::query_scalar(
                "SELECT failed_at FROM ca_ledger WHERE directory = $1 AND name = $2 AND failed_at > $3 \
                 ORDER BY failed_at DESC LIMIT 100",
            )
            .bind(&directory)
            .bind(&name)
            .bind(number(since))
            .fetch_all(connection)
            .await?;
            Ok(times.into_iter().map(unsigned).collect())
        })
    }
}
