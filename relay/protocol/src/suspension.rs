//! The suspension as a client is told of it.

use serde::{Deserialize, Serialize};

/// Why an account or an endpoint is offline, and the address for appeals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuspensionNotice {
    /// The suspended account, host name or port.
    pub against: String,
    /// When it ends, in seconds since 1970 (UTC); absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The reason in a word, for example `phishing`.
    pub reason: String,
    /// The complaint behind it, to be named in an appeal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
    /// An e-mail address for appeals; may be empty.
    #[serde(default)]
    pub abuse: String,
}
