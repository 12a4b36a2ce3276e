//! The pod in which a relay runs: a relay's id begins with its pod's name and ends with random digits.

use adit_protocol::RelayId;

/// Maximum characters of a pod's name in the id of its relay.
const MAX_NAME_CHARS: usize = 40;
/// Length of the random end of an id: a dash and four hexadecimal digits.
const SUFFIX_CHARS: usize = 5;

/// The beginning of the name of a relay's pod; `None` if the id is not that of a pod's relay.
pub(crate) fn pod_name_prefix(relay: &RelayId) -> Option<&str> {
    let id = relay.as_str();
    let (pod, suffix) = id.split_at_checked(id.len().checked_sub(SUFFIX_CHARS)?)?;
    let is_random = suffix.starts_with('-') && suffix[1..].bytes().all(|b| b.is_ascii_hexdigit());
    is_random.then_some(pod)
}

/// Whether a pod's name matches a prefix of [`pod_name_prefix`]. Several pods can match if their names are long.
pub(crate) fn has_name_prefix(pod: &str, prefix: &str) -> bool {
    pod.chars().take(MAX_NAME_CHARS).eq(prefix.chars())
}
