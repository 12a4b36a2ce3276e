//! Who owns a name.

use crate::{
    Store, StoreError,
    connections::{statement, transaction},
    dialect::{Dialect, OwnedNames},
    number, unsigned,
};
use adit_protocol::{Account, Endpoint, InstanceId, Kind};
use sqlx::Row;
use std::collections::HashSet;

/// How long a name stays with its tunnel after the last sign of it, in seconds.
pub const LEASE_SECONDS: u64 = 5 * 60;

/// How long a name then stays closed to everyone but its account, in seconds.
pub const QUARANTINE_SECONDS: u64 = 7 * 24 * 60 * 60;

/// The most names that one statement extends.
const BATCH: usize = 500;

/// The most names that [`Store::idle_names`] returns.
const IDLE_NAMES: i64 = 16;

/// Where a wish for a name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client asked for it: it counts among the names that the account chose.
    Chosen,
    /// The relay drew it: it counts among the account's drawn names.
    Drawn,
    /// The relay drew it for this account once, and nobody uses it: it counts as before. It is had only while its
    /// lease is over, so that of two who take it up one gets it.
    DrawnBefore,
}

/// A wish for a name.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// The host name or the port.
    pub endpoint: Endpoint,
    /// Who wants it.
    pub account: Account,
    /// The run of the client that will serve it.
    pub instance: InstanceId,
    /// The region's domain.
    pub region: String,
    /// Where the wish comes from.
    pub origin: Origin,
    /// The most names that the account may hold, those in quarantine included: each keeps others out for a week. So
    /// many that it chose, and so many that were drawn for it.
    pub names_limit: u32,
    /// Seconds since 1970.
    pub now: u64,
}

/// A name that was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Counts the owners of this name, from 1. A greater one is always the later owner.
    pub generation: u64,
}

/// Why a name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// It belongs to another account, or did within the last week; or one that was to be taken up again is in use.
    #[error("the name belongs to another account")]
    Taken,
    /// The account holds as many names of this origin as it may, and this is none of them.
    #[error("the account holds {limit} names, as many as it may")]
    TooManyNames {
        /// The most names that it may hold.
        limit: u32,
    },
    /// The store gave no answer.
    #[error("names cannot be reserved just now")]
    Unavailable(#[source] StoreError),
}

/// A name with the ownership that its tunnel was opened under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The host name or the port.
    pub endpoint: Endpoint,
    /// The owner.
    pub account: Account,
    /// From [`Reservation::generation`].
    pub generation: u64,
}

/// What the store holds about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldName {
    /// The last owner.
    pub account: Account,
    /// The run of the client that the name was last reserved for.
    pub instance: String,
    /// Counts the owners, from 1.
    pub generation: u64,
    /// When the lease ends or ended, in seconds since 1970.
    pub leased_until: u64,
    /// When anyone may have the name again, in seconds since 1970.
    pub quarantine_until: u64,
}

/// Host names are unique in the whole provider; ports are a region's own.
pub(crate) fn key(region: &str, endpoint: &Endpoint) -> String {
    endpoint.provider_key(region)
}

enum Outcome {
    Reserved(i64),
    Taken,
    TooMany,
}

/// How many names an account holds that it chose, how many that were drawn, and whether the wanted one is among them.
const COUNT: &str = "SELECT COALESCE(SUM(CASE WHEN chosen THEN 1 ELSE 0 END), 0), \
       COALESCE(SUM(CASE WHEN chosen THEN 0 ELSE 1 END), 0), \
       COALESCE(SUM(CASE WHEN endpoint = $3 THEN 1 ELSE 0 END), 0) > 0 \
     FROM reservations WHERE issuer = $1 AND subject = $2 AND quarantine_until > $4";

/// One statement decides who gets the name: the row's lock lets the second of two wait for the first, and look then.
const RESERVE: &str = "INSERT INTO reservations \
     (endpoint, region, issuer, subject, instance, generation, reserved_at, leased_until, quarantine_until, chosen) \
     VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9) \
     ON CONFLICT (endpoint) DO UPDATE SET \
       generation = reservations.generation + CASE WHEN reservations.issuer = excluded.issuer \
         AND reservations.subject = excluded.subject AND reservations.instance = excluded.instance \
         THEN 0 ELSE 1 END, \
       region = excluded.region, issuer = excluded.issuer, subject = excluded.subject, \
       instance = excluded.instance, reserved_at = excluded.reserved_at, \
       leased_until = excluded.leased_until, quarantine_until = excluded.quarantine_until, \
       chosen = excluded.chosen OR (reservations.chosen AND reservations.issuer = excluded.issuer \
         AND reservations.subject = excluded.subject) \
     WHERE (reservations.issuer = excluded.issuer AND reservations.subject = excluded.subject \
         AND (reservations.leased_until <= excluded.reserved_at OR NOT $10)) \
       OR reservations.quarantine_until <= excluded.reserved_at \
     RETURNING generation";

impl Store {
    /// Reserves a name that is free, that belongs to the account already, or whose quarantine is over. The generation
    /// is a new one only when account or instance differ from those of the last reservation: the newest instance
    /// wins, and a repeated call changes nothing but the lease.
    pub async fn reserve(&self, wish: &Reserve) -> Result<Reservation, ReserveError> {
        let limit = wish.names_limit;
        let wish = wish.clone();
        let endpoint = key(&wish.region, &wish.endpoint);
        let outcome = transaction!(self, |connection| {
            connection.lock_account(&wish.account).await?;
            let (chosen, drawn, mine): (i64, i64, bool) = sqlx::query_as(COUNT)
                .bind(&wish.account.issuer)
                .bind(&wish.account.subject)
                .bind(&endpoint)
                .bind(number(wish.now))
                .fetch_one(&mut *connection)
                .await?;
            let held = if wish.origin == Origin::Chosen { chosen } else { drawn };
            let room = held < i64::from(wish.names_limit);
            if !mine && !room {
                Ok(Outcome::TooMany)
            } else {
                let leased_until = wish.now.saturating_add(LEASE_SECONDS);
                let generation: Option<i64> = sqlx::query_scalar(RESERVE)
                    .bind(&endpoint)
                    .bind(&wish.region)
                    .bind(&wish.account.issuer)
                    .bind(&wish.account.subject)
                    .bind(wish.instance.as_str())
                    .bind(number(wish.now))
                    .bind(number(leased_until))
                    .bind(number(leased_until.saturating_add(QUARANTINE_SECONDS)))
                    // A drawn name that is asked for becomes a chosen one if there is room for it among those.
                    .bind(wish.origin == Origin::Chosen && room)
                    .bind(wish.origin == Origin::DrawnBefore)
                    .fetch_optional(&mut *connection)
                    .await?;
                Ok(generation.map_or(Outcome::Taken, Outcome::Reserved))
            }
        });
        match outcome.map_err(ReserveError::Unavailable)? {
            Outcome::Reserved(generation) => Ok(Reservation { generation: unsigned(generation) }),
            Outcome::Taken => Err(ReserveError::Taken),
            Outcome::TooMany => Err(ReserveError::TooManyNames { limit }),
        }
    }

    /// Names of a region that were drawn for the account and whose lease is over, the oldest first, at most 16: hosts
    /// or ports.
    pub async fn idle_names(
        &self,
        region: &str,
        account: &Account,
        kind: Kind,
        now: u64,
    ) -> Result<Vec<Endpoint>, StoreError> {
        // No host name has a slash.
        let prefix = if kind.is_by_port() { format!("{region}/{kind}:") } else { format!("{region}/") };
        let (of, account) = (region.to_owned(), account.clone());
        let keys: Vec<String> = statement!(self, |connection| {
            sqlx::query_scalar(
                "SELECT endpoint FROM reservations WHERE issuer = $1 AND subject = $2 AND region = $3 \
                   AND NOT chosen AND leased_until <= $4 AND quarantine_until > $4 \
                   AND (substr(endpoint, 1, $5) = $6) = $7 \
                 ORDER BY leased_until LIMIT $8",
            )
            .bind(&account.issuer)
            .bind(&account.subject)
            .bind(&of)
            .bind(number(now))
            .bind(i32::try_from(prefix.len()).unwrap_or(i32::MAX))
            .bind(&prefix)
            .bind(kind.is_by_port())
            .bind(IDLE_NAMES)
            .fetch_all(connection)
            .await
        })?;
        Ok(keys.iter().filter_map(|key| Endpoint::from_provider_key(key, region)).collect())
    }

    /// Extends the leases of names whose tunnels are open, once a minute, all of a relay at once. Returns those that
    /// have another owner or generation by now, in the order given; nothing of them was changed.
    pub async fn extend(
        &self,
        region: &str,
        leases: &[Lease],
        now: u64,
    ) -> Result<Vec<Endpoint>, StoreError> {
        let leased_until = now.saturating_add(LEASE_SECONDS);
        let quarantine_until = leased_until.saturating_add(QUARANTINE_SECONDS);
        let mut lost = Vec::new();
        for batch in leases.chunks(BATCH) {
            let names = OwnedNames::new(region, batch);
            let extended: HashSet<String> = transaction!(self, |connection| {
                connection.extend(&names, number(leased_until), number(quarantine_until)).await
            })?;
            let was_lost = batch.iter().filter(|lease| !extended.contains(&key(region, &lease.endpoint)));
            lost.extend(was_lost.map(|lease| lease.endpoint.clone()));
        }
        Ok(lost)
    }

    /// Ends a lease now; the quarantine begins. Returns false, and changes nothing, when the name has another owner or
    /// generation by now.
    pub async fn release(&self, region: &str, lease: &Lease, now: u64) -> Result<bool, StoreError> {
        let endpoint = key(region, &lease.endpoint);
        let lease = lease.clone();
        statement!(self, |connection| {
            let done = sqlx::query(
                "UPDATE reservations SET leased_until = $5, quarantine_until = $6 \
                 WHERE endpoint = $1 AND issuer = $2 AND subject = $3 AND generation = $4",
            )
            .bind(&endpoint)
            .bind(&lease.account.issuer)
            .bind(&lease.account.subject)
            .bind(number(lease.generation))
            .bind(number(now))
            .bind(number(now.saturating_add(QUARANTINE_SECONDS)))
            .execute(connection)
            .await?;
            Ok(done.rows_affected() > 0)
        })
    }

    /// What is held about a name, also after its lease; nothing when nobody had it in the last month.
    pub async fn held_name(&self, region: &str, endpoint: &Endpoint) -> Result<Option<HeldName>, StoreError> {
        let endpoint = key(region, endpoint);
        statement!(self, |connection| {
            let row = sqlx::query(
                "SELECT issuer, subject, instance, generation, leased_until, quarantine_until \
                 FROM reservations WHERE endpoint = $1",
            )
            .bind(&endpoint)
            .fetch_optional(connection)
            .await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(HeldName {
                account: Account { issuer: row.try_get(0)?, subject: row.try_get(1)? },
                instance: row.try_get(2)?,
                generation: unsigned(row.try_get(3)?),
                leased_until: unsigned(row.try_get(4)?),
                quarantine_until: unsigned(row.try_get(5)?),
            }))
        })
    }

    /// How many names are held, those in quarantine included.
    pub async fn names(&self, now: u64) -> Result<u64, StoreError> {
        statement!(self, |connection| {
            let count: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM reservations WHERE quarantine_until > $1")
                    .bind(number(now))
                    .fetch_one(connection)
                    .await?;
            Ok(unsigned(count))
        })
    }
}
