//! Complaints by the admin API: for a relay that is alone with its store, which no operator looks after.
//!
//! - `GET /v1/complaints`: a page; `GET /v1/complaints/{id}`: one with its history;
//! - `POST /v1/complaints`: files one, as [`NewComplaint`];
//! - `POST /v1/complaints/{id}/decision`: decides about one, as [`NewDecision`].

use super::{problem::ProblemDetails, view::rfc3339};
use adit_store::{
    Complaint, Decision, EnforcementProgress, Entry, Filing, Scope, Store, StoreError, Subject,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What complaints can be about; the words are those of the custom resource.
const CATEGORIES: [&str; 6] = ["Phishing", "Malware", "Spam", "Copyright", "Illegal", "Other"];
/// The most bytes of a text.
const MAX_TEXT_BYTES: usize = 4096;
/// The most bytes of a link.
const MAX_LINK_BYTES: usize = 2048;
/// The most links.
const MAX_LINKS: usize = 20;

/// A complaint that is to be filed. Exactly one of `url`, `hostname` and `account` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewComplaint {
    /// A URL of a tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A tunnel's host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// An account: issuer, `|`, subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Phishing, Malware, Spam, Copyright, Illegal or Other.
    pub category: String,
    /// What happened; at most 4096 bytes.
    pub description: String,
    /// Who complains; at most 254 bytes.
    pub reporter: String,
    /// Links, at most 20 of 2048 bytes.
    pub evidence: Vec<String>,
    /// Who files it.
    pub by: String,
}

/// A decision about a complaint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewDecision {
    /// `acknowledged`, `dismissed` or `lifted`.
    pub decision: Decision,
    /// `account` or `hostname`.
    #[serde(default)]
    pub scope: Scope,
    /// When it ends by itself, in RFC 3339; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Who decided.
    pub by: String,
    /// Why.
    pub why: String,
}

/// One complaint, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComplaintView {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub against: String,
    /// What it accuses of.
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
    /// When it ends by itself, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Where it stands: Open, Enforcing, Enforced, Lifted, Dismissed, Expired.
    pub phase: String,
    /// The account that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its endpoints then.
    pub hostnames: Vec<String>,
    /// How many relays have confirmed, of how many.
    pub relays: String,
    /// The relays that have not confirmed: id and region.
    pub outstanding: Vec<String>,
    /// When it was filed, in seconds since 1970; RFC 3339 in JSON.
    #[serde(with = "rfc3339")]
    pub filed_at: u64,
    /// What has happened to it; only of a single one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Entry>,
}

impl ComplaintView {
    fn new(complaint: &Complaint, standing: &EnforcementProgress, history: Vec<Entry>) -> Self {
        let filing = &complaint.filing;
        let until = |until: u64| {
            let time = OffsetDateTime::from_unix_timestamp(i64::try_from(until).ok()?).ok()?;
            time.format(&Rfc3339).ok()
        };
        let (confirmed, relays) = (standing.confirmed, standing.relays);
        Self {
            id: filing.id.clone(),
            against: filing.against.clone(),
            category: filing.category.clone(),
            description: filing.description.clone(),
            reporter: filing.reporter.clone(),
            evidence: filing.evidence.clone(),
            decision: filing.decision,
            scope: filing.scope,
            until: filing.until.and_then(until),
            phase: standing.phase.as_str().to_owned(),
            account: complaint.account_text(),
            hostnames: complaint.hostnames.clone(),
            relays: format!("{confirmed}/{relays}"),
            outstanding: standing
                .outstanding
                .iter()
                .map(|(region, id)| format!("{id} of {region}"))
                .collect(),
            filed_at: complaint.filed_at,
            history,
        }
    }
}

fn bad_request(detail: String) -> ProblemDetails {
    ProblemDetails::new(StatusCode::BAD_REQUEST, detail)
}

/// A store that refuses is one whose complaints an operator decides about.
fn failed(error: StoreError) -> ProblemDetails {
    match error {
        StoreError::Refused(cause) => ProblemDetails::new(
            StatusCode::FORBIDDEN,
            format!(
                "the store gives this relay no right to that, its operator has it: kubectl get complaints ({cause})"
            ),
        ),
        other => ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, other.to_string()),
    }
}

/// A page of complaints, in the order of their ids.
pub(super) async fn list(
    store: &Store,
    after: Option<&str>,
    limit: usize,
    now: u64,
) -> Result<Vec<ComplaintView>, ProblemDetails> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let complaints = store.complaints(after, limit).await.map_err(failed)?;
    let relays = store.relays_seen().await.map_err(failed)?;
    let view =
        |complaint| ComplaintView::new(complaint, &EnforcementProgress::of(complaint, &relays, now), vec![]);
    Ok(complaints.iter().map(view).collect())
}

/// One complaint with its history. That it is enforced is noted as soon as somebody sees it.
pub(super) async fn one(store: &Store, id: &str, now: u64) -> Result<ComplaintView, ProblemDetails> {
    let mut complaint = find(store, id).await?;
    let relays = store.relays_seen().await.map_err(failed)?;
    let standing = EnforcementProgress::of(&complaint, &relays, now);
    if standing.phase == adit_store::Phase::Enforced && complaint.enforced_at.is_none() {
        let noted = store.complaint_enforced(id, complaint.version, now).await.map_err(failed)?;
        complaint = noted.unwrap_or(complaint);
    }
    let history = store.complaint_history(id).await.map_err(failed)?;
    Ok(ComplaintView::new(&complaint, &standing, history))
}

async fn find(store: &Store, id: &str) -> Result<Complaint, ProblemDetails> {
    let found = store.complaint(id).await.map_err(failed)?;
    found.ok_or_else(|| ProblemDetails::new(StatusCode::NOT_FOUND, format!("complaint: there is no {id:?}")))
}

/// Files a complaint; answers with its id.
pub(super) async fn file(
    store: &Store,
    new: NewComplaint,
    now: u64,
) -> Result<ComplaintView, ProblemDetails> {
    let filing = new.filing(random_id())?;
    store.judge(&filing, now).await.map_err(failed)?;
    one(store, &filing.id, now).await
}

/// Decides about a complaint.
pub(super) async fn decide(
    store: &Store,
    id: &str,
    new: NewDecision,
    now: u64,
) -> Result<ComplaintView, ProblemDetails> {
    let complaint = find(store, id).await?;
    if complaint.filing.source != ADMIN_SOURCE {
        let detail = format!("complaint: {id:?} comes from {:?}: decide there", complaint.filing.source);
        return Err(ProblemDetails::new(StatusCode::CONFLICT, detail));
    }
    let filing = new.over(complaint.filing, now)?;
    store.judge(&filing, now).await.map_err(failed)?;
    one(store, id, now).await
}

/// Where complaints of the admin API come from.
const ADMIN_SOURCE: &str = "admin";

/// `cpl-` and letters that are not mistaken for each other.
fn random_id() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let letter = |_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]);
    format!("cpl-{}", (0..8).map(letter).collect::<String>())
}

impl NewComplaint {
    fn filing(self, id: String) -> Result<Filing, ProblemDetails> {
        let (subject, against) = match (self.url, self.hostname, self.account) {
            (Some(url), None, None) => {
                (Subject::of_url(&url).map_err(|e| bad_request(format!("url: {e}")))?, url)
            }
            (None, Some(name), None) => {
                (Subject::of_hostname(&name).map_err(|e| bad_request(format!("hostname: {e}")))?, name)
            }
            (None, None, Some(account)) => {
                (Subject::of_account(&account).map_err(|e| bad_request(format!("account: {e}")))?, account)
            }
            _ => return Err(bad_request("url, hostname, account: exactly one of them is given".to_owned())),
        };
        if !CATEGORIES.contains(&self.category.as_str()) {
            let all = CATEGORIES.join(", ");
            return Err(bad_request(format!("category: {:?} is not one of {all}", shown(&self.category))));
        }
        for (field, text, most) in [
            ("description", &self.description, MAX_TEXT_BYTES),
            ("reporter", &self.reporter, 254),
            ("by", &self.by, 254),
        ] {
            if text.len() > most {
                return Err(bad_request(format!("{field}: has more than {most} bytes")));
            }
        }
        if self.evidence.len() > MAX_LINKS
            || self.evidence.iter().any(|link| link.is_empty() || link.len() > MAX_LINK_BYTES)
        {
            return Err(bad_request(format!(
                "evidence: has more than {MAX_LINKS} links, or one of not 1 to {MAX_LINK_BYTES} bytes"
            )));
        }
        Ok(Filing {
            name: id.clone(),
            id,
            source: ADMIN_SOURCE.to_owned(),
            subject,
            against,
            category: self.category,
            description: self.description,
            reporter: self.reporter,
            evidence: self.evidence,
            decision: Decision::Pending,
            scope: Scope::Account,
            until: None,
            by: self.by,
            why: String::new(),
        })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl NewDecision {
    fn over(self, filing: Filing, now: u64) -> Result<Filing, ProblemDetails> {
        if self.decision == Decision::Pending {
            return Err(bad_request("decision: it must be acknowledged, dismissed or lifted".to_owned()));
        }
        if self.scope == Scope::Hostname && matches!(filing.subject, Subject::Account(_)) {
            return Err(bad_request("scope: hostname needs a complaint about a URL or hostname".to_owned()));
        }
        if self.why.trim().is_empty() || self.why.len() > MAX_TEXT_BYTES {
            return Err(bad_request(format!("why: a decision has a reason of 1 to {MAX_TEXT_BYTES} bytes")));
        }
        let until = self.until.map(|text| {
            let time = OffsetDateTime::parse(&text, &Rfc3339)
                .map_err(|error| bad_request(format!("until: {:?}: {error}", shown(&text))))?;
            u64::try_from(time.unix_timestamp())
                .ok()
                .filter(|until| *until > now)
                .ok_or_else(|| bad_request(format!("until: {text} is over")))
        });
        Ok(Filing {
            decision: self.decision,
            scope: self.scope,
            until: until.transpose()?,
            by: self.by,
            why: self.why,
            ..filing
        })
    }
}
