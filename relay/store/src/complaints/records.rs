//! The records of a complaint.

use super::subject::{Subject, account_text};
use adit_protocol::Account;
use serde::{Deserialize, Serialize};

/// The decision about a complaint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Nothing yet.
    #[default]
    Pending,
    /// Justified: the offender is taken offline.
    Acknowledged,
    /// Not justified.
    Dismissed,
    /// Justified, and over.
    Lifted,
}

impl Decision {
    /// The word for the history.
    pub(super) fn deed(self) -> &'static str {
        match self {
            Self::Pending => "reopened",
            Self::Acknowledged => "acknowledged",
            Self::Dismissed => "dismissed",
            Self::Lifted => "lifted",
        }
    }
}

/// The part that is taken offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// All tunnels of the account.
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
    /// The name that people and clients see.
    pub name: String,
    /// The source: `namespace/name`, or `admin`.
    pub source: String,
    /// The subject.
    pub subject: Subject,
    /// The subject as it was written.
    pub against: String,
    /// The category, one word; clients see it in lower case.
    pub category: String,
    /// The description.
    pub description: String,
    /// The reporter.
    pub reporter: String,
    /// Links.
    pub evidence: Vec<String>,
    /// The decision about a complaint.
    pub decision: Decision,
    /// The part that is taken offline.
    pub scope: Scope,
    /// The end of the suspension in seconds since 1970.
    pub until: Option<u64>,
    /// The person who filed it or decided last.
    pub by: String,
    /// The reason of the decision.
    pub why: String,
}

/// A complaint in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Complaint {
    /// As its source has it.
    pub filing: Filing,
    /// The time of filing in seconds since 1970, as all times here.
    pub filed_at: u64,
    /// The time of the last decision.
    pub decided_at: Option<u64>,
    /// The time of the last acknowledgement.
    pub acknowledged_at: Option<u64>,
    /// The time at which all relays had confirmed that.
    pub enforced_at: Option<u64>,
    /// The account, if it was known at the decision.
    pub account: Option<Account>,
    /// The endpoints of that account then: host names, or `region/tcp:port`.
    pub hostnames: Vec<String>,
    /// The first version of the suspensions with the decision.
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

/// The result of [`crate::Store::judge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComplaintOutcome {
    /// The complaint.
    pub complaint: Complaint,
    /// The number of sessions that relays have closed because of it.
    pub sessions_closed: u64,
    /// The names of other complaints that keep the same account or host name offline.
    pub others: Vec<String>,
}

/// One line of a complaint's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The time in seconds since 1970.
    pub at: u64,
    /// The step: filed, acknowledged, changed, enforced, dismissed, lifted, reopened, deleted.
    pub what: String,
    /// The person; empty for the program itself.
    pub who: String,
    /// The reason.
    pub why: String,
}
