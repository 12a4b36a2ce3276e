//! Certificates, and the private keys that belong to them, sealed.

use crate::{
    Store, StoreError,
    connections::{statement, transaction},
    fences::{Fence, HELD},
    number,
    suspensions::raise_version,
    unsigned,
};
use sqlx::Row;

/// A certificate that relays serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// Its id, chosen by the issuer. The next certificate with the same id replaces it.
    pub id: String,
    /// The requested DNS names, wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// The domains of the regions that serve it; empty: all.
    pub regions: Vec<String>,
    /// The chain, leaf first (PEM).
    pub chain: String,
    /// The SHA-256 of the leaf, in hexadecimal digits.
    pub fingerprint: String,
    /// The start of its validity in seconds since 1970.
    pub not_before: u64,
    /// The end of its validity in seconds since 1970.
    pub not_after: u64,
    /// The number of certificates with this id so far, counted by the store.
    pub revision: u64,
    /// The time at which it was stored, in seconds since 1970.
    pub issued_at: u64,
    /// The digest of the request: another one needs another certificate.
    pub made_for: String,
}

/// A private key that only its recipient can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// The domain of a region, or the name of the issuer.
    pub recipient: String,
    /// The sealed key.
    pub sealed: String,
}

/// All certificates of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateSet {
    /// Grows with each change.
    pub version: u64,
    /// The certificates, sorted by id, each with its sealed key.
    pub list: Vec<(StoredCertificate, String)>,
}

/// A list as a column stores it.
fn joined(list: &[String]) -> String {
    list.join(",")
}

pub(crate) fn split(text: &str) -> Vec<String> {
    text.split(',').filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

macro_rules! read_certificate {
    ($row:expr, $first:expr) => {{
        let (row, at) = ($row, $first);
        StoredCertificate {
            id: row.try_get(at)?,
            names: split(&row.try_get::<String, _>(at + 1)?),
            regions: split(&row.try_get::<String, _>(at + 2)?),
            chain: row.try_get(at + 3)?,
            fingerprint: row.try_get(at + 4)?,
            not_before: unsigned(row.try_get(at + 5)?),
            not_after: unsigned(row.try_get(at + 6)?),
            revision: unsigned(row.try_get(at + 7)?),
            issued_at: unsigned(row.try_get(at + 8)?),
            made_for: row.try_get(at + 9)?,
        }
    }};
}

/// One statement, so that version and rows belong together.
const OF_RECIPIENT: &str = "SELECT v.version, k.sealed, c.id, c.names, c.regions, c.chain, c.fingerprint, \
       c.not_before, c.not_after, c.revision, c.issued_at, c.made_for \
     FROM versions v LEFT JOIN certificate_keys k ON k.recipient = $1 \
       LEFT JOIN certificates c ON c.id = k.certificate \
     WHERE v.name = 'certificates' ORDER BY c.id";

impl Store {
    /// Stores the public key that a region's keys are sealed to.
    pub async fn put_region(&self, region: &str, public_key: &str) -> Result<(), StoreError> {
        let (region, public_key) = (region.to_owned(), public_key.to_owned());
        statement!(self, |connection| {
            sqlx::query(
                "INSERT INTO regions (region, public_key) VALUES ($1, $2) ON CONFLICT (region) DO UPDATE \
                 SET public_key = excluded.public_key WHERE regions.public_key <> excluded.public_key",
            )
            .bind(&region)
            .bind(&public_key)
            .execute(connection)
            .await?;
            Ok(())
        })
    }

    /// Removes the public key of a region.
    pub async fn remove_region(&self, region: &str) -> Result<(), StoreError> {
        let region = region.to_owned();
        statement!(self, |connection| {
            sqlx::query("DELETE FROM regions WHERE region = $1").bind(&region).execute(connection).await?;
            Ok(())
        })
    }

    /// All regions' domains and public keys.
    pub async fn regions(&self) -> Result<Vec<(String, String)>, StoreError> {
        statement!(self, |connection| {
            sqlx::query_as("SELECT region, public_key FROM regions ORDER BY region")
                .fetch_all(connection)
                .await
        })
    }

    /// Replaces a certificate, removes its order and challenges, and wakes the relays, in one transaction. Returns whether
    /// the fence was held; otherwise nothing is written.
    pub async fn put_certificate(
        &self,
        certificate: &StoredCertificate,
        keys: &[SealedKey],
        fence: &Fence,
    ) -> Result<bool, StoreError> {
        let (certificate, keys, fence) = (certificate.clone(), keys.to_vec(), fence.clone());
        let put = transaction!(self, |connection| {
            let held: Option<i64> = sqlx::query_scalar(HELD)
                .bind(&fence.name)
                .bind(number(fence.epoch))
                .fetch_optional(&mut *connection)
                .await?;
            if held.is_none() {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO certificates (id, names, regions, chain, fingerprint, not_before, not_after, revision, \
                   issued_at, made_for) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9) \
                 ON CONFLICT (id) DO UPDATE SET names = excluded.names, regions = excluded.regions, \
                   chain = excluded.chain, fingerprint = excluded.fingerprint, not_before = excluded.not_before, \
                   not_after = excluded.not_after, issued_at = excluded.issued_at, made_for = excluded.made_for, \
                   revision = certificates.revision + \
                     CASE WHEN certificates.fingerprint = excluded.fingerprint THEN 0 ELSE 1 END",
            )
            .bind(&certificate.id)
            .bind(joined(&certificate.names))
            .bind(joined(&certificate.regions))
            .bind(&certificate.chain)
            .bind(&certificate.fingerprint)
            .bind(number(certificate.not_before))
            .bind(number(certificate.not_after))
            .bind(number(certificate.issued_at))
            .bind(&certificate.made_for)
            .execute(&mut *connection)
            .await?;
            sqlx::query("DELETE FROM certificate_keys WHERE certificate = $1")
                .bind(&certificate.id)
                .execute(&mut *connection)
                .await?;
            for key in &keys {
                sqlx::query(
                    "INSERT INTO certificate_keys (certificate, recipient, sealed) VALUES ($1, $2, $3)",
                )
                .bind(&certificate.id)
                .bind(&key.recipient)
                .bind(&key.sealed)
                .execute(&mut *connection)
                .await?;
            }
            sqlx::query("DELETE FROM acme_orders WHERE certificate = $1")
                .bind(&certificate.id)
                .execute(&mut *connection)
                .await?;
            sqlx::query("DELETE FROM acme_challenges WHERE certificate = $1")
                .bind(&certificate.id)
                .execute(&mut *connection)
                .await?;
            raise_version!(connection, "challenges");
            raise_version!(connection, "certificates");
            Ok(true)
        });
        if matches!(put, Ok(true)) {
            self.wake();
        }
        put
    }

    /// One certificate.
    pub async fn certificate(&self, id: &str) -> Result<Option<StoredCertificate>, StoreError> {
        let id = id.to_owned();
        statement!(self, |connection| {
            let row = sqlx::query(
                "SELECT id, names, regions, chain, fingerprint, not_before, not_after, revision, issued_at, \
                   made_for FROM certificates WHERE id = $1",
            )
            .bind(&id)
            .fetch_optional(connection)
            .await?;
            match row {
                Some(row) => Ok(Some(read_certificate!(&row, 0))),
                None => Ok(None),
            }
        })
    }

    /// The sealed private keys of one certificate, one for each recipient.
    pub async fn certificate_keys(&self, id: &str) -> Result<Vec<SealedKey>, StoreError> {
        let id = id.to_owned();
        statement!(self, |connection| {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT recipient, sealed FROM certificate_keys WHERE certificate = $1 ORDER BY recipient",
            )
            .bind(&id)
            .fetch_all(connection)
            .await?;
            Ok(rows.into_iter().map(|(recipient, sealed)| SealedKey { recipient, sealed }).collect())
        })
    }

    /// All certificates that have a key for a recipient.
    pub async fn certificates_for(&self, recipient: &str) -> Result<CertificateSet, StoreError> {
        let recipient = recipient.to_owned();
        statement!(self, |connection| {
            let rows = sqlx::query(OF_RECIPIENT).bind(&recipient).fetch_all(connection).await?;
            let mut set = CertificateSet::default();
            for row in &rows {
                set.version = unsigned(row.try_get(0)?);
                if let Some(sealed) = row.try_get::<Option<String>, _>(1)? {
                    set.list.push((read_certificate!(row, 2), sealed));
                }
            }
            Ok(set)
        })
    }

    /// Removes a certificate, its keys, order and challenges, so that relays stop serving it. Returns whether there was one.
    pub async fn remove_certificate(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let removed = transaction!(self, |connection| {
            for statement in [
                "DELETE FROM acme_orders WHERE certificate = $1",
                "DELETE FROM acme_challenges WHERE certificate = $1",
            ] {
                sqlx::query(statement).bind(&id).execute(&mut *connection).await?;
            }
            let removed = sqlx::query("DELETE FROM certificates WHERE id = $1")
                .bind(&id)
                .execute(&mut *connection)
                .await?
                .rows_affected();
            raise_version!(connection, "challenges");
            raise_version!(connection, "certificates");
            Ok(removed > 0)
        });
        if removed.is_ok() {
            self.wake();
        }
        removed
    }
}
