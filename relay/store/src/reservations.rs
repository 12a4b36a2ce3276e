//! Reservations: the owners of names.

use crate::{
    Lease, Store, StoreError,
    connections::{statement, transaction},
    dialect::{Dialect, OwnedNames},
    lease::key,
    number, unsigned,
};
use adit_protocol::{Account, Endpoint, InstanceId, Kind};
use sqlx::Row;
use std::collections::HashSet;

/// The time for which a name stays with its tunnel after the last extension, in seconds.
pub const LEASE_SECONDS: u64 = 5 * 60;

/// The time after the lease for which only its account can have a name, in seconds.
pub const QUARANTINE_SECONDS: u64 = 7 * 24 * 60 * 60;

/// The maximum number of names that one statement extends.
const MAX_BATCH: usize = 500;

/// The maximum number of names that [`Store::idle_names`] returns.
const MAX_IDLE_NAMES: i64 = 16;

/// The origin of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Chosen by the client.
    Chosen,
    /// Drawn by the relay. Drawn names have a limit of their own.
    Drawn,
    /// Drawn for this account before, and idle. It is reserved only if its lease is over, so that one of two requests at
    /// once gets it.
    DrawnBefore,
}

/// A request for a name.
#[derive(Clone, Debug)]
pub struct ReservationRequest {
    /// The host name or the port.
    pub endpoint: Endpoint,
    /// The account.
    pub account: Account,
    /// The run of the client that will serve it.
    pub instance: InstanceId,
    /// The region's domain.
    pub region: String,
    /// The origin of the name.
    pub origin: Origin,
    /// The maximum number of names of each origin, chosen and drawn, that the account may hold. Names in quarantine count,
    /// because they are closed to others.
    pub names_limit: u32,
    /// Seconds since 1970.
    pub now: u64,
}

/// A reserved name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The number of owners of this name so far, this one included. A greater one is always the later owner.
    pub generation: u64,
}

/// A name that cannot be reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// It belongs to another account, or did within the last week; or an idle name is in use again.
    #[error("the name belongs to another account")]
    Taken,
    /// The account has reached its limit of names of this origin.
    #[error("the account holds {limit} names, its limit")]
    TooManyNames {
        /// The limit.
        limit: u32,
    },
    /// The store did not answer.
    #[error("the store cannot reserve a name")]
    Unavailable(#[source] StoreError),
}

/// The row of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldName {
    /// The last owner.
    pub account: Account,
    /// The run of the client that the name was last reserved for.
    pub instance: String,
    /// The number of owners so far.
    pub generation: u64,
    /// The end of the lease in seconds since 1970.
    pub leased_until: u64,
    /// The time from which every account can have the name, in seconds since 1970.
    pub quarantine_until: u64,
}

enum Outcome {
    Reserved(i64),
    Taken,
    TooMany,
}

/// The numbers of chosen and drawn names that an account holds, and whether the requested one is among them.
const COUNT: &str = "SELECT COALESCE(SUM(CASE WHEN chosen THEN 1 ELSE 0 END), 0), \
       COALESCE(SUM(CASE WHEN chosen THEN 0 ELSE 1 END), 0), \
       COALESCE(SUM(CASE WHEN endpoint = $3 THEN 1 ELSE 0 END), 0) > 0 \
     FROM reservations WHERE issuer = $1 AND subject = $2 AND quarantine_until > $4";

/// One statement decides: the row lock makes the second of two requests wait for the first.
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
    /// Reserves a name that is free, belongs to the account, or whose quarantine is over. The generation grows only if the
    /// account or the instance differs from the last reservation's: the newest instance wins, and a repeated call only
    /// extends the lease.
    pub async fn reserve(&self, wish: &ReservationRequest) -> Result<Reservation, ReserveError> {
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

    /// Up to 16 names of a region, hosts or ports, that were drawn for the account and whose lease is over; the oldest first.
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
            .bind(MAX_IDLE_NAMES)
            .fetch_all(connection)
            .await
        })?;
        Ok(keys.iter().filter_map(|key| Endpoint::from_provider_key(key, region)).collect())
    }

    /// Extends the leases of names whose tunnels are open. A relay calls it once a minute for all of its names. Returns, in
    /// the order given, those that have another owner or generation by now; they are unchanged.
    pub async fn extend(
        &self,
        region: &str,
        leases: &[Lease],
        now: u64,
    ) -> Result<Vec<Endpoint>, StoreError> {
        let leased_until = now.saturating_add(LEASE_SECONDS);
        let quarantine_until = leased_until.saturating_add(QUARANTINE_SECONDS);
        let mut lost = Vec::new();
        for batch in leases.chunks(MAX_BATCH) {
            let names = OwnedNames::new(region, batch);
            let extended: HashSet<String> = transaction!(self, |connection| {
                connection.extend(&names, number(leased_until), number(quarantine_until)).await
            })?;
            let was_lost = batch.iter().filter(|lease| !extended.contains(&key(region, &lease.endpoint)));
            lost.extend(was_lost.map(|lease| lease.endpoint.clone()));
        }
        Ok(lost)
    }

    /// Ends a lease, so that the quarantine begins. Returns false and changes nothing if the name has another owner or
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

    /// The row of a name, also after its lease. `None` if nobody had it in the last month.
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

    /// The number of names that are held, including those in quarantine.
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
