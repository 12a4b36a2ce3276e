//! The relays' reports: the versions that each relay uses, and its load.

use crate::{
    Store, StoreError,
    certificates::split,
    connections::{statement, transaction},
    number, unsigned,
};
use adit_protocol::RelayId;
use sqlx::Row;

/// The last report of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayStatus {
    /// The region's domain.
    pub region: String,
    /// Unique in its region.
    pub relay: RelayId,
    /// The start of the process in seconds since 1970.
    pub started: u64,
    /// The time of the report in seconds since 1970.
    pub seen: u64,
    /// The version of the suspensions that it enforces.
    pub suspensions_version: u64,
    /// The revision of its configuration; empty if it does not report one.
    pub config_revision: String,
    /// The reason why it does not use the configuration that it read last; `None` if it does.
    pub config_refused: Option<String>,
    /// Whether it is draining.
    pub draining: bool,
    /// The number of its sessions.
    pub sessions: u32,
    /// The number of tunnels on them, each counted once.
    pub tunnels: u32,
    /// Whether the registry answers it.
    pub registry_up: bool,
    /// The version of the challenges that it answers.
    pub challenges_version: u64,
    /// The fingerprints of the certificates of the store that it serves.
    pub served: Vec<String>,
    /// The reason why it does not serve a certificate of the store; `None` if it serves all of its region.
    pub certificate_problem: Option<String>,
}

const CLOSED: &str = "INSERT INTO enforcements (suspension, region, relay, closed) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (suspension, region, relay) DO UPDATE SET closed = excluded.closed \
     WHERE enforcements.closed < excluded.closed";

const SEEN: &str = "INSERT INTO relays (region, relay, started, seen, suspensions_version, config_revision, \
       config_refused, draining, sessions, tunnels, registry_up, challenges_version, served, certificate_problem) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
     ON CONFLICT (region, relay) DO UPDATE SET started = excluded.started, seen = excluded.seen, \
       suspensions_version = excluded.suspensions_version, config_revision = excluded.config_revision, \
       config_refused = excluded.config_refused, draining = excluded.draining, sessions = excluded.sessions, \
       tunnels = excluded.tunnels, registry_up = excluded.registry_up, \
       challenges_version = excluded.challenges_version, served = excluded.served, \
       certificate_problem = excluded.certificate_problem";

impl Store {
    /// Stores the report of a relay in place of the last one.
    pub async fn relay_seen(&self, relay: &RelayStatus) -> Result<(), StoreError> {
        self.confirm(relay, &[]).await
    }

    /// Stores the report of a relay and the total numbers of sessions that it closed for each of these suspensions, in one
    /// transaction.
    pub async fn confirm(&self, relay: &RelayStatus, closed: &[(String, u64)]) -> Result<(), StoreError> {
        let (relay, closed) = (relay.clone(), closed.to_vec());
        transaction!(self, |connection| {
            for (suspension, closed) in &closed {
                sqlx::query(CLOSED)
                    .bind(suspension)
                    .bind(&relay.region)
                    .bind(relay.relay.as_str())
                    .bind(number(*closed))
                    .execute(&mut *connection)
                    .await?;
            }
            sqlx::query(SEEN)
                .bind(&relay.region)
                .bind(relay.relay.as_str())
                .bind(number(relay.started))
                .bind(number(relay.seen))
                .bind(number(relay.suspensions_version))
                .bind(&relay.config_revision)
                .bind(&relay.config_refused)
                .bind(i64::from(relay.draining))
                .bind(i64::from(relay.sessions))
                .bind(i64::from(relay.tunnels))
                .bind(i64::from(relay.registry_up))
                .bind(number(relay.challenges_version))
                .bind(relay.served.join(","))
                .bind(&relay.certificate_problem)
                .execute(&mut *connection)
                .await?;
            Ok(())
        })?;
        self.wake_confirmed();
        Ok(())
    }

    /// Removes a relay that has shut down or is proven gone.
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

    /// The reports of all relays, by region and id.
    pub async fn relays_seen(&self) -> Result<Vec<RelayStatus>, StoreError> {
        statement!(self, |connection| {
            let rows = sqlx::query(
                "SELECT region, relay, started, seen, suspensions_version, config_revision, config_refused, \
                   draining, sessions, tunnels, registry_up, challenges_version, served, certificate_problem \
                 FROM relays ORDER BY region, relay",
            )
            .fetch_all(connection)
            .await?;
            let mut relays = Vec::with_capacity(rows.len());
            for row in &rows {
                let relay: String = row.try_get(1)?;
                relays.push(RelayStatus {
                    region: row.try_get(0)?,
                    relay: relay.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                    started: unsigned(row.try_get(2)?),
                    seen: unsigned(row.try_get(3)?),
                    suspensions_version: unsigned(row.try_get(4)?),
                    config_revision: row.try_get(5)?,
                    config_refused: row.try_get(6)?,
                    draining: row.try_get::<i64, _>(7)? != 0,
                    sessions: small(row.try_get(8)?),
                    tunnels: small(row.try_get(9)?),
                    registry_up: row.try_get::<i64, _>(10)? != 0,
                    challenges_version: unsigned(row.try_get(11)?),
                    served: split(&row.try_get::<String, _>(12)?),
                    certificate_problem: row.try_get(13)?,
                });
            }
            Ok(relays)
        })
    }
}

/// A count of the store, which never holds a negative one.
fn small(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}
