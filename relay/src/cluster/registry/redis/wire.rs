//! Claims, rows, relays and changes as they stand in Redis.
//!
//! Another relay wrote them: what is too large, or is not what it should be, is taken for unreadable.

use super::super::Claim;
use crate::cluster::table::{ChangeKind, MAX_SESSIONS, RelayRecord, Row, RowSession};
use adit_protocol::{Account, Endpoint, InstanceId, RelayId, SessionId, TunnelId, TunnelOptions};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};

/// The most bytes of a row or record. A row with as many and as long parts as it can have has about 14 KiB.
const MAX_BYTES: usize = 16 * 1024;

#[derive(Serialize)]
struct ClaimText<'a> {
    endpoint: &'a Endpoint,
    account: &'a Account,
    instance: &'a InstanceId,
    generation: String,
    tunnel: &'a TunnelId,
    /// JSON as text: the scripts' own JSON would change numbers and empty lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<String>,
    session: &'a SessionId,
    relay: &'a RelayId,
}

#[derive(Deserialize)]
struct RowText<'a> {
    endpoint: Endpoint,
    account: Account,
    instance: InstanceId,
    #[serde(borrow)]
    generation: Cow<'a, str>,
    tunnel: TunnelId,
    #[serde(borrow, default)]
    options: Option<Cow<'a, str>>,
    sessions: BTreeMap<SessionId, RelayId>,
    #[serde(borrow)]
    version: Cow<'a, str>,
}

/// A generation as text of 20 digits: the order of such texts is that of their numbers.
pub(super) fn generation(generation: u64) -> String {
    format!("{generation:020}")
}

pub(super) fn claim(claim: &Claim) -> String {
    let text = ClaimText {
        endpoint: &claim.endpoint,
        account: &claim.account,
        instance: &claim.instance,
        generation: generation(claim.generation),
        tunnel: &claim.tunnel,
        options: options_text(&claim.options),
        session: &claim.session,
        relay: &claim.relay,
    };
    serde_json::to_string(&text).expect("strings can be written as JSON")
}

fn options_text(options: &TunnelOptions) -> Option<String> {
    let text = || serde_json::to_string(options).expect("what was read as JSON can be written as such");
    (!options.is_empty()).then(text)
}

/// A row with its version.
pub(super) fn row(text: &[u8]) -> Option<(u64, Row)> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let text: RowText<'_> = serde_json::from_slice(text).ok()?;
    if !text.account.is_valid() || !(1..=MAX_SESSIONS).contains(&text.sessions.len()) {
        return None;
    }
    let sessions = text.sessions.into_iter().map(|(session, relay)| RowSession { session, relay }).collect();
    let row = Row {
        endpoint: text.endpoint,
        account: text.account,
        instance: text.instance,
        generation: text.generation.parse().ok()?,
        tunnel: text.tunnel,
        options: match text.options {
            Some(json) => serde_json::from_str(&json).ok()?,
            None => TunnelOptions::default(),
        },
        sessions,
    };
    Some((text.version.parse().ok()?, row))
}

pub(super) fn record_text(record: &RelayRecord) -> String {
    serde_json::to_string(record).expect("strings and numbers can be written as JSON")
}

fn record(text: &[u8]) -> Option<RelayRecord> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let record: RelayRecord = serde_json::from_slice(text).ok()?;
    let fits = record.peer.as_ref().is_none_or(|peer| peer.len() <= RelayRecord::MAX_PEER_BYTES);
    fits.then_some(record)
}

/// A relay as it stands among the relays: version, time, record.
pub(super) fn relay(text: &[u8]) -> Option<(u64, RelayRecord)> {
    let mut parts = text.splitn(3, |byte| *byte == b' ');
    let version = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    Some((version, record(parts.nth(1)?)?))
}

/// A change by the name of its field and its text. A row's version is that of its change.
pub(super) fn what(field: &[u8], text: &[u8]) -> ChangeKind {
    let what = match field {
        b"row" => row(text).map(|(_, row)| ChangeKind::Row(row)),
        b"gone" => plain(text).map(ChangeKind::Gone),
        b"beat" => record(text).map(ChangeKind::Beat),
        b"left" => plain(text).map(ChangeKind::Left),
        _ => None,
    };
    what.unwrap_or(ChangeKind::Unreadable)
}

fn plain<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    if text.len() > MAX_BYTES {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
