//! The statements that differ between the back ends.

use crate::{Lease, lease::key, number};
use adit_protocol::Account;
use sqlx::{PgConnection, SqliteConnection};
use std::collections::HashSet;

/// Names with their owners, as columns.
pub(crate) struct OwnedNames {
    keys: Vec<String>,
    issuers: Vec<String>,
    subjects: Vec<String>,
    generations: Vec<i64>,
}

impl OwnedNames {
    pub(crate) fn new(region: &str, leases: &[Lease]) -> Self {
        Self {
            keys: leases.iter().map(|lease| key(region, &lease.endpoint)).collect(),
            issuers: leases.iter().map(|lease| lease.account.issuer.clone()).collect(),
            subjects: leases.iter().map(|lease| lease.account.subject.clone()).collect(),
            generations: leases.iter().map(|lease| number(lease.generation)).collect(),
        }
    }
}

pub(crate) trait Dialect {
    /// Locks the account's reservations until the end of the transaction, so that several at once cannot all take the last
    /// name.
    async fn lock_account(&mut self, account: &Account) -> Result<(), sqlx::Error>;

    /// Extends the leases of the names that still have this owner and generation, and returns their keys. A later end
    /// stays, because the clocks of relays differ.
    async fn extend(
        &mut self,
        names: &OwnedNames,
        leased_until: i64,
        quarantine_until: i64,
    ) -> Result<HashSet<String>, sqlx::Error>;
}

impl Dialect for SqliteConnection {
    /// Nothing to do: the transaction has the write lock of the whole file.
    async fn lock_account(&mut self, _: &Account) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn extend(
        &mut self,
        names: &OwnedNames,
        leased_until: i64,
        quarantine_until: i64,
    ) -> Result<HashSet<String>, sqlx::Error> {
        let mut extended = HashSet::with_capacity(names.keys.len());
        for (at, key) in names.keys.iter().enumerate() {
            let done = sqlx::query(
                "UPDATE reservations \
                 SET leased_until = MAX(leased_until, $5), quarantine_until = MAX(quarantine_until, $6) \
                 WHERE endpoint = $1 AND issuer = $2 AND subject = $3 AND generation = $4",
            )
            .bind(key)
            .bind(&names.issuers[at])
            .bind(&names.subjects[at])
            .bind(names.generations[at])
            .bind(leased_until)
            .bind(quarantine_until)
            .execute(&mut *self)
            .await?;
            if done.rows_affected() > 0 {
                extended.insert(key.clone());
            }
        }
        Ok(extended)
    }
}

impl Dialect for PgConnection {
    async fn lock_account(&mut self, account: &Account) -> Result<(), sqlx::Error> {
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(account.key());
        lock.execute(self).await.map(drop)
    }

    /// The rows are locked in the order of their names. Two relays with sessions of the same tunnels extend the same rows
    /// and would deadlock otherwise.
    async fn extend(
        &mut self,
        names: &OwnedNames,
        leased_until: i64,
        quarantine_until: i64,
    ) -> Result<HashSet<String>, sqlx::Error> {
        let keys: Vec<String> = sqlx::query_scalar(
            "WITH owned AS ( \
               SELECT r.endpoint FROM reservations r \
               JOIN unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
                 AS given (endpoint, issuer, subject, generation) \
               ON r.endpoint = given.endpoint AND r.issuer = given.issuer \
                 AND r.subject = given.subject AND r.generation = given.generation \
               ORDER BY r.endpoint FOR UPDATE OF r) \
             UPDATE reservations r SET leased_until = GREATEST(r.leased_until, $5), \
               quarantine_until = GREATEST(r.quarantine_until, $6) \
             FROM owned WHERE r.endpoint = owned.endpoint RETURNING r.endpoint",
        )
        .bind(&names.keys)
        .bind(&names.issuers)
        .bind(&names.subjects)
        .bind(&names.generations)
        .bind(leased_until)
        .bind(quarantine_until)
        .fetch_all(self)
        .await?;
        Ok(keys.into_iter().collect())
    }
}
