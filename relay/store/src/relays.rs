//! Which relays the provider has, and what each of them has read.

use crate::{Store, StoreError, connections::statement, number, unsigned};
use adit_protocol::RelayId;
use sqlx::Row;

/// The last word of a relay about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySeen {
    /// The region's domain.
    pub region: String,
    /// Unique in its region.
    pub relay: RelayId,
    /// When the process began, in seconds since 1970.
    pub started: u64,
    /// When it said this, in seconds since 1970.
    pub seen: u64,
    /// The version of the suspensions that it enforces.
    pub suspensions_version: u64,
}

impl Store {
    /// Records that a relay lives and what it enforces, in place of what it said before.
    pub async fn relay_seen(&self, relay: &RelaySeen) -> Result<(), StoreError> {
        let relay = relay.clone();
        statement!(self, |connection| {
            sqlx::query(
                "INSERT INTO relays (region, relay, started, seen, suspensions_version) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (region, relay) DO UPDATE SET started = excluded.started, seen = excluded.seen, \
                   suspensions_version = excluded.suspensions_version",
            )
            .bind(&relay.region)
            .bind(relay.relay.as_str())
            .bind(number(relay.started))
            .bind(number(relay.seen))
            .bind(number(relay.suspensions_version))
            .execute(connection)
            .await?;
            Ok(())
        })
    }

    /// Forgets a relay that has ended in an orderly way, or that is proven gone.
    pub async fn relay_gone(&self, region: &str, relay: &RelayId) -> Result<(), StoreError> {
        let (region, relay) = (region.to_owned(), relay.clone());
        statement!(self, |connection| {
            sqlx::query("DELETE FROM relays WHERE region = $1 AND relay = $2")
                .bind(&region)
                .bind(relay.as_str())
                .execute(connection)
                .await?;
            Ok(())
        })
    }

    /// All relays that are not gone, by region and id.
    pub async fn relays_seen(&self) -> Result<Vec<RelaySeen>, StoreError> {
        statement!(self, |connection| {
            let rows = sqlx::query(
                "SELECT region, relay, started, seen, suspensions_version FROM relays ORDER BY region, relay",
            )
            .fetch_all(connection)
            .await?;
            let mut relays = Vec::with_capacity(rows.len());
            for row in &rows {
                let relay: String = row.try_get(1)?;
                relays.push(RelaySeen {
                    region: row.try_get(0)?,
                    relay: relay.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                    started: unsigned(row.try_get(2)?),
                    seen: unsigned(row.try_get(3)?),
                    suspensions_version: unsigned(row.try_get(4)?),
                });
            }
            Ok(relays)
        })
    }
}
