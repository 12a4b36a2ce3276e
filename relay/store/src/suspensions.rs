//! Who is kept out.

use crate::{
    Store, StoreError,
    connections::{statement, transaction},
    number, unsigned,
};
use adit_protocol::Account;
use serde::{Deserialize, Serialize};
use sqlx::Row;

/// Whom or what a suspension keeps out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Suspended {
    /// All tunnels of an account, in every region.
    Account(Account),
    /// One host name, whoever has it; lower case, as in an endpoint.
    Hostname(String),
    /// One public TCP port of a region, whoever has it.
    Port {
        /// The region's domain.
        region: String,
        /// The port.
        port: u16,
    },
}

impl Suspended {
    /// The columns `issuer`, `subject` and `hostname`. A port stands as in the reservations.
    pub(crate) fn columns(&self) -> (Option<&str>, Option<&str>, Option<String>) {
        match self {
            Self::Account(account) => (Some(&account.issuer), Some(&account.subject), None),
            Self::Hostname(hostname) => (None, None, Some(hostname.clone())),
            Self::Port { region, port } => (None, None, Some(format!("{region}/tcp:{port}"))),
        }
    }

    /// What a `hostname` column names.
    pub(crate) fn of_key(key: String) -> Self {
        let port = key.split_once("/tcp:").and_then(|(region, port)| Some((region, port.parse().ok()?)));
        match port {
            Some((region, port)) => Self::Port { region: region.to_owned(), port },
            None => Self::Hostname(key),
        }
    }
}

/// An account or a host name that is offline everywhere until it is lifted or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Chosen by the caller: the same id again replaces the suspension.
    pub id: String,
    /// Whom it keeps out.
    pub target: Suspended,
    /// When it ends by itself, in seconds since 1970; never when absent. Readers compare it with their own clock: its
    /// end is no change of the set.
    pub until: Option<u64>,
    /// What the client is told.
    pub reason: String,
    /// The complaint that it follows from.
    pub complaint: Option<String>,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// The endpoints that it took offline as far as they were known when it began, as in [`Suspended`]: their consumers
    /// are told so although nobody serves them any more.
    pub hostnames: Vec<String>,
}

/// All suspensions in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspensions {
    /// Grows with each change. A relay that has read a version has read all that came before it.
    pub version: u64,
    /// In the order of their ids.
    pub list: Vec<Suspension>,
}

/// Raises the version of a set within the transaction that changes it, and gives the new one.
macro_rules! raise_version {
    ($connection:ident, $set:literal) => {
        sqlx::query_scalar::<_, i64>(concat!(
            "UPDATE versions SET version = version + 1 WHERE name = '",
            $set,
            "' RETURNING version"
        ))
        .fetch_one(&mut *$connection)
        .await?
    };
}
pub(crate) use raise_version;

pub(crate) const SUSPEND: &str = "INSERT INTO suspensions (id, issuer, subject, hostname, until, reason, complaint, since, hostnames) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
     ON CONFLICT (id) DO UPDATE SET issuer = excluded.issuer, subject = excluded.subject, \
       hostname = excluded.hostname, until = excluded.until, reason = excluded.reason, \
       complaint = excluded.complaint, since = excluded.since, hostnames = excluded.hostnames, lifted_at = NULL \
     WHERE suspensions.lifted_at IS NOT NULL OR suspensions.issuer IS DISTINCT FROM excluded.issuer \
       OR suspensions.subject IS DISTINCT FROM excluded.subject \
       OR suspensions.hostname IS DISTINCT FROM excluded.hostname \
       OR suspensions.until IS DISTINCT FROM excluded.until OR suspensions.reason <> excluded.reason \
       OR suspensions.complaint IS DISTINCT FROM excluded.complaint OR suspensions.since <> excluded.since \
       OR suspensions.hostnames <> excluded.hostnames";

const VERSION: &str = "SELECT version FROM versions WHERE name = 'suspensions'";

/// One statement, so that the version and the rows are of one moment.
const IN_FORCE: &str = "SELECT v.version, s.id, s.issuer, s.subject, s.hostname, s.until, s.reason, s.complaint, s.since, \
       s.hostnames \
     FROM versions v LEFT JOIN suspensions s \
       ON s.lifted_at IS NULL AND (s.until IS NULL OR s.until > $1) \
     WHERE v.name = 'suspensions'";

/// Puts a suspension in force within a transaction; gives the new version if that has changed anything.
macro_rules! put_suspension {
    ($connection:ident, $suspension:expr) => {{
        let suspension = &$suspension;
        let (issuer, subject, hostname) = suspension.target.columns();
        let done = sqlx::query($crate::suspensions::SUSPEND)
            .bind(&suspension.id)
            .bind(issuer)
            .bind(subject)
            .bind(hostname)
            .bind(suspension.until.map($crate::number))
            .bind(&suspension.reason)
            .bind(&suspension.complaint)
            .bind($crate::number(suspension.since))
            .bind(suspension.hostnames.join("\n"))
            .execute(&mut *$connection)
            .await?;
        if done.rows_affected() > 0 {
            Some($crate::unsigned($crate::suspensions::raise_version!($connection, "suspensions")))
        } else {
            None
        }
    }};
}
pub(crate) use put_suspension;

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Reads one row of [`IN_FORCE`]; its columns have the same types in both back ends.
macro_rules! read_suspension {
    ($row:expr) => {{
        let row = $row;
        let id: Option<String> = row.try_get(1)?;
        match id {
            None => None,
            Some(id) => {
                let account: (Option<String>, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
                let target = match account {
                    (Some(issuer), Some(subject)) => Suspended::Account(Account { issuer, subject }),
                    _ => Suspended::of_key(row.try_get(4)?),
                };
                Some(Suspension {
                    id,
                    target,
                    until: row.try_get::<Option<i64>, _>(5)?.map(unsigned),
                    reason: row.try_get(6)?,
                    complaint: row.try_get(7)?,
                    since: unsigned(row.try_get(8)?),
                    hostnames: lines(&row.try_get::<String, _>(9)?),
                })
            }
        }
    }};
}

impl Store {
    /// Suspends an account or a host name and wakes whoever waits for changes. Returns the version from which on the
    /// suspension is in the set; the same suspension again changes nothing.
    pub async fn suspend(&self, suspension: &Suspension) -> Result<u64, StoreError> {
        let suspension = suspension.clone();
        let version = transaction!(self, |connection| {
            let raised = put_suspension!(connection, suspension);
            match raised {
                Some(version) => Ok(version),
                None => Ok(unsigned(sqlx::query_scalar(VERSION).fetch_one(&mut *connection).await?)),
            }
        })?;
        self.wake();
        Ok(version)
    }

    /// Lifts a suspension and wakes whoever waits for changes. Returns the version from which on it is gone; one that
    /// is unknown or lifted already changes nothing.
    pub async fn lift(&self, id: &str, now: u64) -> Result<u64, StoreError> {
        let id = id.to_owned();
        let version = transaction!(self, |connection| {
            let done =
                sqlx::query("UPDATE suspensions SET lifted_at = $2 WHERE id = $1 AND lifted_at IS NULL")
                    .bind(&id)
                    .bind(number(now))
                    .execute(&mut *connection)
                    .await?;
            let version: i64 = if done.rows_affected() > 0 {
                raise_version!(connection, "suspensions")
            } else {
                sqlx::query_scalar(VERSION).fetch_one(&mut *connection).await?
            };
            Ok(unsigned(version))
        })?;
        self.wake();
        Ok(version)
    }

    /// The version of the suspensions alone: whoever has read this one needs not read them again.
    pub async fn suspensions_version(&self) -> Result<u64, StoreError> {
        statement!(self, |connection| {
            Ok(unsigned(sqlx::query_scalar(VERSION).fetch_one(connection).await?))
        })
    }

    /// The suspensions in force at `now`, with the version of this set.
    pub async fn suspensions(&self, now: u64) -> Result<Suspensions, StoreError> {
        statement!(self, |connection| {
            let rows = sqlx::query(IN_FORCE).bind(number(now)).fetch_all(connection).await?;
            let mut suspensions = Suspensions::default();
            for row in &rows {
                suspensions.version = unsigned(row.try_get(0)?);
                suspensions.list.extend(read_suspension!(row));
            }
            suspensions.list.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            Ok(suspensions)
        })
    }
}
