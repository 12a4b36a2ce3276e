//! Which pod a relay runs in: a relay's id begins with its pod's name, and ends with random digits.

use adit_protocol::RelayId;

/// A relay's id begins with so much of its pod's name.
const NAME_IN_ID: usize = 40;
/// A dash and four hexadecimal digits.
const ID_SUFFIX: usize = 5;

/// The beginning of the name of a relay's pod; nothing for an id that no pod's relay has.
pub(crate) fn pod_of(relay: &RelayId) -> Option<&str> {
    let id = relay.as_str();
    let (pod, suffix) = id.split_at_checked(id.len().checked_sub(ID_SUFFIX)?)?;
    let is_random = suffix.starts_with('-') && suffix[1..].bytes().all(|b| b.is_ascii_hexdigit());
    is_random.then_some(pod)
}

/// Whether a pod's name begins like that. Of long names only the beginning is known, so several pods may.
pub(crate) fn is_named(pod: &str, beginning: &str) -> bool {
    pod.chars().take(NAME_IN_ID).eq(beginning.chars())
}
