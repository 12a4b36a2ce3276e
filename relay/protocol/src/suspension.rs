//! What a client is told of its suspension.

use serde::{Deserialize, Serialize};

/// Why an account or an endpoint is offline, and whom to write to about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuspensionNotice {
    /// Whom it is about: an account, or a host name or port.
    pub against: String,
    /// When it ends by itself, in seconds since 1970 (UTC); absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// What for, in a word: `phishing`.
    pub reason: String,
    /// The complaint that it follows from, to be named in an appeal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
    /// An e-mail address for appeals; may be empty.
    #[serde(default)]
    pub abuse: String,
}
