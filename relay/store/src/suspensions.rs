//! Who is kept out.

use crate::{
    Store, StoreError,
    connections::{statement, transaction},
    number, unsigned,
};
use adit_protocol::{Account, Endpoint};
use sqlx::Row;

/// Whom or what a suspension keeps out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Suspended {
    /// All tunnels of an account, in every region.
    Account(Account),
    /// One host name, whoever has it; lower case, as in an endpoint.
    Hostname(String),
}

/// An account or a host name that is offline everywhere until it is lifted or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// All suspensions in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspensions {
    /// Grows with each change. A relay that has read a version has read all that came before it.
    pub version: u64,
    /// In the order of their ids.
    pub list: Vec<Suspension>,
}

impl Suspensions {
    /// The suspension, if any, that keeps an account from serving an endpoint at `now`. Those of the account go first.
    pub fn against(&self, account: &Account, endpoint: &Endpoint, now: u64) -> Option<&Suspension> {
        let in_force =
            || self.list.iter().filter(|suspension| suspension.until.is_none_or(|until| until > now));
        let is_account =
            |s: &&Suspension| matches!(&s.target, Suspended::Account(suspended) if suspended == account);
        let is_hostname = |s: &&Suspension| match (&s.target, endpoint) {
            (Suspended::Hostname(suspended), Endpoint::Host(host)) => **suspended == **host,
            _ => false,
        };
        in_force().find(is_account).or_else(|| in_force().find(is_hostname))
    }
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

const SUSPEND: &str = "INSERT INTO suspensions (id, issuer, subject, hostname, until, reason, complaint, since) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
     ON CONFLICT (id) DO UPDATE SET issuer = excluded.issuer, subject = excluded.subject, \
       hostname = excluded.hostname, until = excluded.until, reason = excluded.reason, \
       complaint = excluded.complaint, since = excluded.since, lifted_at = NULL \
     WHERE suspensions.lifted_at IS NOT NULL OR suspensions.issuer IS DISTINCT FROM excluded.issuer \
       OR suspensions.subject IS DISTINCT FROM excluded.subject \
       OR suspensions.hostname IS DISTINCT FROM excluded.hostname \
       OR suspensions.until IS DISTINCT FROM excluded.until OR suspensions.reason <> excluded.reason \
       OR suspensions.complaint IS DISTINCT FROM excluded.complaint OR suspensions.since <> excluded.since";

const VERSION: &str = "SELECT version FROM versions WHERE name = 'suspensions'";

/// One statement, so that the version and the rows are of one moment.
const IN_FORCE: &str = "SELECT v.version, s.id, s.issuer, s.subject, s.hostname, s.until, s.reason, s.complaint, s.since \
     FROM versions v LEFT JOIN suspensions s \
       ON s.lifted_at IS NULL AND (s.until IS NULL OR s.until > $1) \
     WHERE v.name = 'suspensions'";

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
                    _ => Suspended::Hostname(row.try_get(4)?),
                };
                Some(Suspension {
                    id,
                    target,
                    until: row.try_get::<Option<i64>, _>(5)?.map(unsigned),
                    reason: row.try_get(6)?,
                    complaint: row.try_get(7)?,
                    since: unsigned(row.try_get(8)?),
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
            let (account, hostname) = match &suspension.target {
                Suspended::Account(account) => (Some(account), None),
                Suspended::Hostname(hostname) => (None, Some(hostname)),
            };
            let done = sqlx::query(SUSPEND)
                .bind(&suspension.id)
                .bind(account.map(|account| &account.issuer))
                .bind(account.map(|account| &account.subject))
                .bind(hostname)
                .bind(suspension.until.map(number))
                .bind(&suspension.reason)
                .bind(&suspension.complaint)
                .bind(number(suspension.since))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn suspension(id: &str, target: Suspended, until: Option<u64>) -> Suspension {
        Suspension {
            id: id.to_owned(),
            target,
            until,
            reason: "phishing".to_owned(),
            complaint: None,
            since: 1,
        }
    }

    #[test]
    fn a_suspension_is_found_by_account_or_host_name_until_it_ends() {
        let (ada, bob) = (Account::managed("ada"), Account::managed("bob"));
        let (shop, blog) = (Endpoint::host("shop.example"), Endpoint::host("blog.example"));
        let all = Suspensions {
            version: 3,
            list: vec![
                suspension("host", Suspended::Hostname("shop.example".to_owned()), Some(100)),
                suspension("account", Suspended::Account(ada.clone()), Some(50)),
                suspension("port", Suspended::Hostname("tcp:20022".to_owned()), None),
            ],
        };
        let found =
            |account, endpoint, now| all.against(account, endpoint, now).map(|found| found.id.as_str());
        assert_eq!(found(&ada, &blog, 49), Some("account"));
        assert_eq!(found(&ada, &shop, 49), Some("account"), "all of it is offline, not the name alone");
        assert_eq!(found(&ada, &shop, 50), Some("host"));
        assert_eq!(found(&ada, &blog, 50), None);
        assert_eq!(found(&ada, &Endpoint::Tcp(20022), 49), Some("account"));
        assert_eq!(found(&bob, &shop, 99), Some("host"));
        assert_eq!(found(&bob, &shop, 100), None);
        assert_eq!(found(&bob, &blog, 1), None);
        assert_eq!(found(&bob, &Endpoint::Tcp(20022), 1), None, "a port is no host name");
    }
}
