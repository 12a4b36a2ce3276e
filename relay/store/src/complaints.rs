//! Complaints, decisions about them, and the suspensions that follow.
//!
//! A complaint comes from a custom resource or from the admin API, as often as its source likes. [`Store::judge`] does what
//! is not done yet in one transaction. All steps stay in the history.

mod plan;
mod records;
mod standing;
mod subject;

pub use records::{Complaint, ComplaintOutcome, Decision, Entry, Filing, Scope};
pub use standing::{EnforcementProgress, Phase};
pub use subject::{InvalidSubject, Subject};

use crate::{
    Store, StoreError, Suspended,
    connections::{statement, transaction},
    number,
    suspensions::{put_suspension, raise_version},
    unsigned,
};
use adit_protocol::Account;
use plan::{Effect, Found, Plan, looks, plan, target};

/// The maximum number of an account's endpoints that a complaint records.
const MAX_NAMES: i64 = 1000;

/// Reads a complaint and locks it until the end of the transaction.
macro_rules! read_locked {
    ($connection:ident, $id:expr) => {{
        sqlx::query("UPDATE complaints SET source = source WHERE id = $1")
            .bind($id)
            .execute(&mut *$connection)
            .await?;
        let document: Option<String> = sqlx::query_scalar("SELECT document FROM complaints WHERE id = $1")
            .bind($id)
            .fetch_optional(&mut *$connection)
            .await?;
        document.filter(|document| !document.is_empty()).map(|document| read(&document)).transpose()?
    }};
}

/// Writes a complaint within a transaction.
macro_rules! write {
    ($connection:ident, $complaint:expr) => {
        sqlx::query("UPDATE complaints SET document = $2 WHERE id = $1")
            .bind(&$complaint.filing.id)
            .bind(serde_json::to_string(&$complaint).map_err(|error| sqlx::Error::Encode(error.into()))?)
            .execute(&mut *$connection)
            .await?
    };
}

/// Adds a line to a history within a transaction.
macro_rules! remember {
    ($connection:ident, $id:expr, $now:expr, $what:expr, $who:expr, $why:expr) => {
        sqlx::query(
            "INSERT INTO complaint_history (complaint, number, at, what, who, why) \
             SELECT $1, COUNT(*) + 1, $2, $3, $4, $5 FROM complaint_history WHERE complaint = $1",
        )
        .bind($id)
        .bind(number($now))
        .bind($what)
        .bind($who)
        .bind($why)
        .execute(&mut *$connection)
        .await?
    };
}

/// Finds the account of a subject and its endpoints.
macro_rules! find {
    ($connection:ident, $subject:expr, $now:expr) => {{
        let account = match ($subject, $subject.key()) {
            (Subject::Account(account), _) => Some(account.clone()),
            (_, Some(key)) => {
                let owner: Option<(String, String)> =
                    sqlx::query_as("SELECT issuer, subject FROM reservations WHERE endpoint = $1")
                        .bind(key)
                        .fetch_optional(&mut *$connection)
                        .await?;
                owner.map(|(issuer, subject)| Account { issuer, subject })
            }
            (_, None) => None,
        };
        let names: Vec<String> = match &account {
            Some(account) => {
                sqlx::query_scalar(
                    "SELECT endpoint FROM reservations WHERE issuer = $1 AND subject = $2 \
                       AND quarantine_until > $3 ORDER BY endpoint LIMIT $4",
                )
                .bind(&account.issuer)
                .bind(&account.subject)
                .bind(number($now))
                .bind(MAX_NAMES)
                .fetch_all(&mut *$connection)
                .await?
            }
            None => vec![],
        };
        Found { account, names }
    }};
}

/// The SQL condition that a suspension has the target $1 to $3: issuer, subject, host name.
const SAME_TARGET: &str = "(s.hostname = $3 OR (s.issuer = $1 AND s.subject = $2))";

/// Lifts a suspension within a transaction; returns the new version if it was in force.
macro_rules! lift_one {
    ($connection:ident, $id:expr, $now:expr) => {{
        let done = sqlx::query("UPDATE suspensions SET lifted_at = $2 WHERE id = $1 AND lifted_at IS NULL")
            .bind($id)
            .bind(number($now))
            .execute(&mut *$connection)
            .await?;
        if done.rows_affected() > 0 {
            Some(unsigned(raise_version!($connection, "suspensions")))
        } else {
            None
        }
    }};
}

/// Carries out a plan within a transaction; returns the new version of the suspensions, if there is one.
macro_rules! carry_out {
    ($connection:ident, $plan:expr, $now:expr) => {{
        let filing = &$plan.after.filing;
        match &$plan.effect {
            Effect::Nothing => None,
            Effect::Suspend(suspension) => put_suspension!($connection, suspension),
            Effect::LiftOwn => lift_one!($connection, &filing.id, $now),
            Effect::LiftAll(target) => {
                let (issuer, subject, hostname) = target.columns();
                let left: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                    "SELECT s.id FROM suspensions s JOIN complaints c ON c.id = s.id \
                     WHERE s.lifted_at IS NULL AND c.gone_at IS NOT NULL AND {SAME_TARGET}"
                )))
                .bind(issuer)
                .bind(subject)
                .bind(hostname)
                .fetch_all(&mut *$connection)
                .await?;
                let mut version = lift_one!($connection, &filing.id, $now);
                for id in left.iter().filter(|id| **id != filing.id) {
                    version = lift_one!($connection, id, $now).or(version);
                    remember!($connection, id, $now, "lifted", &filing.by, format!("by {}", filing.name));
                }
                version
            }
        }
    }};
}

fn read(document: &str) -> Result<Complaint, sqlx::Error> {
    serde_json::from_str(document).map_err(|error| sqlx::Error::Decode(error.into()))
}

impl Store {
    /// Stores a complaint, suspends or lifts as it demands, and wakes the relays if that changes anything for them.
    /// Idempotent.
    pub async fn judge(&self, filing: &Filing, now: u64) -> Result<ComplaintOutcome, StoreError> {
        let filing = filing.clone();
        let (judged, changed) = transaction!(self, |connection| {
            sqlx::query(
                "INSERT INTO complaints (id, source, filed_at, document) VALUES ($1, $2, $3, '') \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(&filing.id)
            .bind(&filing.source)
            .bind(number(now))
            .execute(&mut *connection)
            .await?;
            let before: Option<Complaint> = read_locked!(connection, &filing.id);
            let found = if looks(before.as_ref(), &filing) {
                Some(find!(connection, &filing.subject, now))
            } else {
                None
            };
            let mut plan: Plan = plan(before.as_ref(), &filing, found, now);
            let version: Option<u64> = carry_out!(connection, plan, now);
            plan.after.version = version.unwrap_or(plan.after.version);
            if before.as_ref() != Some(&plan.after) {
                write!(connection, plan.after);
            }
            for what in &plan.history {
                remember!(connection, &filing.id, now, *what, &filing.by, &filing.why);
            }
            if before.is_none() && filing.source.contains('/') {
                // There is one object of a name: an earlier one is gone, also if nobody could say so.
                sqlx::query(
                    "UPDATE complaints SET gone_at = $3 WHERE source = $2 AND id <> $1 AND gone_at IS NULL",
                )
                .bind(&filing.id)
                .bind(&filing.source)
                .bind(number(now))
                .execute(&mut *connection)
                .await?;
            }
            let closed: i64 = sqlx::query_scalar(
                "SELECT CAST(COALESCE(SUM(closed), 0) AS bigint) FROM enforcements WHERE suspension = $1",
            )
            .bind(&filing.id)
            .fetch_one(&mut *connection)
            .await?;
            let target: Suspended = target(&plan.after);
            let (issuer, subject, hostname) = target.columns();
            let others: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT COALESCE(s.complaint, s.id) FROM suspensions s WHERE s.lifted_at IS NULL AND s.id <> $4 \
                   AND (s.until IS NULL OR s.until > $5) AND {SAME_TARGET} ORDER BY 1 LIMIT 10"
            )))
            .bind(issuer)
            .bind(subject)
            .bind(hostname)
            .bind(&filing.id)
            .bind(number(now))
            .fetch_all(&mut *connection)
            .await?;
            Ok((
                ComplaintOutcome { complaint: plan.after, sessions_closed: unsigned(closed), others },
                version.is_some(),
            ))
        })?;
        if changed {
            self.wake();
        }
        Ok(judged)
    }

    /// Notes that all relays have confirmed this version of a complaint, if that is not noted yet; returns the complaint.
    pub async fn complaint_enforced(
        &self,
        id: &str,
        version: u64,
        now: u64,
    ) -> Result<Option<Complaint>, StoreError> {
        let id = id.to_owned();
        transaction!(self, |connection| {
            let complaint: Option<Complaint> = read_locked!(connection, &id);
            match complaint {
                Some(mut complaint) if complaint.version == version && complaint.enforced_at.is_none() => {
                    complaint.enforced_at = Some(now);
                    write!(connection, complaint);
                    remember!(connection, &id, now, "enforced", "", "");
                    Ok(Some(complaint))
                }
                other => Ok(other),
            }
        })
    }

    /// Notes that the object of a complaint has been deleted. Its suspension stays unless `lift` is set; the complaint and
    /// its history stay.
    pub async fn complaint_gone(&self, id: &str, lift: bool, by: &str, now: u64) -> Result<(), StoreError> {
        let (id, by) = (id.to_owned(), by.to_owned());
        let changed = transaction!(self, |connection| {
            let gone = sqlx::query("UPDATE complaints SET gone_at = $2 WHERE id = $1 AND gone_at IS NULL")
                .bind(&id)
                .bind(number(now))
                .execute(&mut *connection)
                .await?;
            if gone.rows_affected() > 0 {
                remember!(connection, &id, now, "deleted", &by, if lift { "onDelete: Lift" } else { "" });
            }
            let version: Option<u64> = if lift { lift_one!(connection, &id, now) } else { None };
            Ok(version.is_some())
        })?;
        if changed {
            self.wake();
        }
        Ok(())
    }

    /// One complaint.
    pub async fn complaint(&self, id: &str) -> Result<Option<Complaint>, StoreError> {
        let id = id.to_owned();
        statement!(self, |connection| {
            let document: Option<String> =
                sqlx::query_scalar("SELECT document FROM complaints WHERE id = $1 AND document <> ''")
                    .bind(&id)
                    .fetch_optional(connection)
                    .await?;
            document.map(|document| read(&document)).transpose()
        })
    }

    /// At most `limit` complaints by id, those after `after` if it is given; also those whose object is deleted.
    pub async fn complaints(&self, after: Option<&str>, limit: u32) -> Result<Vec<Complaint>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        statement!(self, |connection| {
            let documents: Vec<String> = sqlx::query_scalar(
                "SELECT document FROM complaints WHERE id > $1 AND document <> '' ORDER BY id LIMIT $2",
            )
            .bind(&after)
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await?;
            documents.iter().map(|document| read(document)).collect()
        })
    }

    /// The history of a complaint, the oldest entry first.
    pub async fn complaint_history(&self, id: &str) -> Result<Vec<Entry>, StoreError> {
        let id = id.to_owned();
        statement!(self, |connection| {
            let rows: Vec<(i64, String, String, String)> = sqlx::query_as(
                "SELECT at, what, who, why FROM complaint_history WHERE complaint = $1 ORDER BY number",
            )
            .bind(&id)
            .fetch_all(connection)
            .await?;
            let entry = |(at, what, who, why)| Entry { at: unsigned(at), what, who, why };
            Ok(rows.into_iter().map(entry).collect())
        })
    }
}
