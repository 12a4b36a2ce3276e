//! `adit-relay admin complaints`: the client side.

use crate::cli::{
    CliError,
    admin::{
        act::{Consent, count},
        client, table,
    },
};
use crate::ops::admin::complaints::{ComplaintView, NewComplaint, NewDecision};
use adit_store::Decision;
use http::Method;
use std::{fmt::Write as _, path::Path};

/// A request about complaints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComplaintRequest {
    /// All of them.
    List,
    /// One, with its history.
    Show(String),
    /// A new one.
    File(NewComplaint),
    /// A decision about one.
    Decide(String, NewDecision, Consent),
}

/// Carries a request out at the relay of `socket` and returns the text to print. `confirm` is called before a decision.
///
/// # Errors
/// The relay cannot be reached or refuses, or the person does not agree.
pub async fn carry_out(
    socket: &Path,
    request: &ComplaintRequest,
    json: bool,
    now: u64,
    confirm: impl FnOnce(&str) -> bool,
) -> Result<String, CliError> {
    match request {
        ComplaintRequest::List => {
            let all: Vec<ComplaintView> = client::all(socket, "/v1/complaints").await?;
            Ok(if json { client::to_json(&all) } else { table::complaints(&all, now) })
        }
        ComplaintRequest::Show(id) => {
            let one = get(socket, id).await?;
            Ok(if json { client::to_json(&one) } else { whole(&one, now) })
        }
        ComplaintRequest::File(new) => {
            let body = client::to_json(new);
            let filed: ComplaintView = client::send(socket, Method::POST, "/v1/complaints", body).await?;
            Ok(if json { client::to_json(&filed) } else { format!("{}\n", filed.id) })
        }
        ComplaintRequest::Decide(id, decision, consent) => {
            let before = get(socket, id).await?;
            let (infinitive, past) = describe_effect(&before, decision);
            if *consent == Consent::Ask && !confirm(&infinitive) {
                return Err(CliError::unconfirmed(&infinitive));
            }
            if *consent == Consent::DryRun {
                return Ok(format!("would {infinitive}\n"));
            }
            let path = format!("/v1/complaints/{id}/decision");
            let after: ComplaintView =
                client::send(socket, Method::POST, &path, client::to_json(decision)).await?;
            Ok(if json { client::to_json(&after) } else { format!("{past}\n") })
        }
    }
}

async fn get(socket: &Path, id: &str) -> Result<ComplaintView, CliError> {
    let path = format!("/v1/complaints/{id}");
    Ok(client::send(socket, Method::GET, &path, String::new()).await?)
}

/// The effect of a decision in one clause, in the infinitive and in the past tense.
fn describe_effect(complaint: &ComplaintView, new: &NewDecision) -> (String, String) {
    let id = &complaint.id;
    let whom = match (&complaint.account, new.scope) {
        (Some(account), adit_store::Scope::Account) => {
            format!("account {account} ({})", count(complaint.hostnames.len(), "name"))
        }
        _ => complaint.against.clone(),
    };
    let whom = adit_terminal::escape(&whom);
    let (infinitive, past, effect) = match new.decision {
        Decision::Acknowledged => {
            let until = new.until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
            ("acknowledge", "acknowledged", format!(": {whom} goes offline{until}"))
        }
        Decision::Dismissed => ("dismiss", "dismissed", format!(": {whom} is not taken offline by it")),
        Decision::Lifted => ("lift", "lifted", format!(": {whom} may come back")),
        Decision::Pending => ("reopen", "reopened", String::new()),
    };
    (format!("{infinitive} {id}{effect}"), format!("{past} {id}{effect}"))
}

/// One complaint for a person, evidence as plain text.
fn whole(one: &ComplaintView, now: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let value = adit_terminal::escape(value);
            let _ = writeln!(text, "{name:<12} {value}");
        }
    };
    line("id", &one.id);
    line("phase", &one.phase);
    line("against", &one.against);
    line("category", &one.category);
    line("filed", &format!("{} ago", adit_terminal::age(now.saturating_sub(one.filed_at))));
    line("reporter", &one.reporter);
    line("description", &one.description);
    for link in &one.evidence {
        line("evidence", link);
    }
    line("account", one.account.as_deref().unwrap_or("not known: nobody has had this address"));
    line("names", &one.hostnames.join(" "));
    line("until", one.until.as_deref().unwrap_or_default());
    line("relays", &one.relays);
    line("waits for", &one.outstanding.join(", "));
    for entry in &one.history {
        let ago = adit_terminal::age(now.saturating_sub(entry.at));
        let who = if entry.who.is_empty() { String::new() } else { format!(" by {}", entry.who) };
        let why = if entry.why.is_empty() { String::new() } else { format!(": {}", entry.why) };
        line("history", &format!("{ago} ago {}{who}{why}", entry.what));
    }
    text
}
