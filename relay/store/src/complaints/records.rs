//! What is kept of a complaint.

use super::subject::{Subject, account_text};
use adit_protocol::Account;
use serde::{Deserialize, Serialize};

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Nothing yet.
    #[default]
    Pending,
    /// It is right: the offender is taken offline.
    Acknowledged,
    /// It is not.
    Dismissed,
    /// It was right and is over.
    Lifted,
}

impl Decision {
    /// As the history says it.
    pub(super) fn deed(self) -> &'static str {
        match self {
            Self::Pending => "reopened",
            Self::Acknowledged => "acknowledged",
            Self::Dismissed => "dismissed",
            Self::Lifted => "lifted",
        }
    }
}

/// What is taken offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// All that the account publishes.
    #[default]
    Account,
    /// The host name or port alone.
    Hostname,
}

/// A complaint as its source has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filing {
    /// Unique in the provider and never used again.
    pub id: String,
    /// What people call it: clients are told this.
    pub name: String,
    /// Where it comes from: `namespace/name`, or `admin`.
    pub source: String,
    /// What it is about.
    pub subject: Subject,
    /// The same as it was written.
    pub against: String,
    /// One word; clients are told it in lower case.
    pub category: String,
    /// What happened.
    pub description: String,
    /// Who complains.
    pub reporter: String,
    /// Links.
    pub evidence: Vec<String>,
    /// What was decided.
    pub decision: Decision,
    /// What is taken offline.
    pub scope: Scope,
    /// When it ends by itself, in seconds since 1970.
    pub until: Option<u64>,
    /// Who filed it, or decided last.
    pub by: String,
    /// Why it was decided so.
    pub why: String,
}

/// A complaint as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Complaint {
    /// As its source has it.
    pub filing: Filing,
    /// When it came, in seconds since 1970, as all times here.
    pub filed_at: u64,
    /// When it was decided last.
    pub decided_at: Option<u64>,
    /// When it was acknowledged last.
    pub acknowledged_at: Option<u64>,
    /// When all relays had confirmed after that.
    pub enforced_at: Option<u64>,
    /// The account that it is about, as far as it was known at the decision.
    pub account: Option<Account>,
    /// The endpoints of that account then: host names, or `region/tcp:port`.
    pub hostnames: Vec<String>,
    /// The version of the suspensions from which on the decision holds.
    pub version: u64,
}

impl Complaint {
    pub(super) fn filed(filing: Filing, now: u64) -> Self {
        Self {
            filing,
            filed_at: now,
            decided_at: None,
            acknowledged_at: None,
            enforced_at: None,
            account: None,
            hostnames: vec![],
            version: 0,
        }
    }

    /// The account, with its issuer.
    pub fn account_text(&self) -> Option<String> {
        self.account.as_ref().map(account_text)
    }
}

/// What has become of a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The complaint.
    pub complaint: Complaint,
    /// How many sessions relays have closed because of it.
    pub sessions_closed: u64,
    /// The names of other complaints that keep the same account or host name offline.
    pub others: Vec<String>,
}

/// One line of a complaint's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// In seconds since 1970.
    pub at: u64,
    /// What was done: filed, acknowledged, changed, enforced, dismissed, lifted, reopened, deleted.
    pub what: String,
    /// Who did it; empty for the program itself.
    pub who: String,
    /// Why.
    pub why: String,
}
