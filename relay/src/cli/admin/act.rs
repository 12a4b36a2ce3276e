//! `adit-relay admin close` and `drain`: show the effect on a running relay, ask, then carry it out.

use super::client::{self, AdminClientError};
use crate::cli::CliError;
use adit_protocol::SessionId;
use serde::Serialize;
use std::path::Path;

/// An action on a running relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// End one session; its client may come back.
    Close(SessionId),
    /// Drain the relay and end it, as SIGTERM does.
    Drain,
}

/// Consent of the person to an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Given with `--yes`.
    Given,
    /// `--dry-run`: show the effect, do nothing.
    DryRun,
    /// Ask on the terminal.
    Ask,
}

/// The verb form in which an effect is described.
#[derive(Clone, Copy)]
enum Mood {
    /// After `would` and `will`.
    Infinitive,
    /// While it is carried out.
    Progressive,
}

impl Mood {
    fn choose(self, infinitive: &'static str, progressive: &'static str) -> &'static str {
        match self {
            Self::Infinitive => infinitive,
            Self::Progressive => progressive,
        }
    }
}

/// The effect of an action, as far as the relay knows it in advance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Effect {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    sessions: usize,
    tunnels: usize,
    streams: u32,
    dry_run: bool,
}

/// Carries an act out at the relay of `socket`, after `confirm` has agreed to its effect if `consent` wants that;
/// what is to be printed then. The relay only begins: answers in flight may still end.
///
/// # Errors
/// The relay cannot be reached, there is no such session, or the person did not agree.
pub async fn carry_out(
    socket: &Path,
    act: &AdminAction,
    consent: Consent,
    json: bool,
    confirm: impl FnOnce(&str) -> bool,
) -> Result<String, CliError> {
    let effect = Effect::of(socket, act, consent == Consent::DryRun).await?;
    let infinitive = effect.describe(act, Mood::Infinitive);
    if consent == Consent::Ask && !confirm(&infinitive) {
        return Err(CliError::unconfirmed(&infinitive));
    }
    if consent != Consent::DryRun {
        client::post(socket, &act.path()).await?;
    }
    Ok(match (json, consent) {
        (true, _) => client::to_json(&effect),
        (false, Consent::DryRun) => format!("would {infinitive}\n"),
        (false, _) => format!("{}\n", effect.describe(act, Mood::Progressive)),
    })
}

impl AdminAction {
    fn path(&self) -> String {
        match self {
            Self::Close(session) => format!("/v1/sessions/{session}/close"),
            Self::Drain => "/v1/drain".to_owned(),
        }
    }
}

impl Effect {
    async fn of(socket: &Path, act: &AdminAction, dry_run: bool) -> Result<Self, CliError> {
        let sessions = client::sessions(socket).await?;
        match act {
            AdminAction::Close(id) => {
                let Some(session) = sessions.into_iter().find(|one| one.session == *id) else {
                    let detail = format!("session: this relay has no session {id}");
                    return Err(AdminClientError::Refused { status: 404, detail }.into());
                };
                Ok(Self {
                    action: "close",
                    session: Some(session.session.to_string()),
                    account: Some(session.account.to_string()),
                    sessions: 1,
                    tunnels: session.tunnels.len(),
                    streams: session.streams,
                    dry_run,
                })
            }
            AdminAction::Drain => Ok(Self {
                action: "drain",
                session: None,
                account: None,
                sessions: sessions.len(),
                tunnels: client::tunnels(socket).await?.len(),
                streams: sessions.iter().map(|session| session.streams).sum(),
                dry_run,
            }),
        }
    }

    /// The effect in one clause: `close session s-1 of me: 1 tunnel, 2 open streams`.
    fn describe(&self, act: &AdminAction, mood: Mood) -> String {
        let served =
            format!("{}, {}", count(self.tunnels, "tunnel"), count(self.streams as usize, "open stream"));
        match act {
            AdminAction::Close(id) => {
                let account = adit_terminal::escape(self.account.as_deref().unwrap_or_default());
                let verb = mood.choose("close", "closing");
                format!("{verb} session {id} of {account}: {served}")
            }
            AdminAction::Drain => {
                let verb = mood.choose("drain the relay and end it", "draining the relay, which then ends");
                format!("{verb}: {}, {served}", count(self.sessions, "session"))
            }
        }
    }
}

/// A number with its noun: `1 name`, `2 names`.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
