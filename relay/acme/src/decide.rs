//! What to do next for a certificate. Pure: of what was asked for, what there is, and the time.

use adit_store::{StoredCertificate, StoredOrder};

/// The pauses after one, two, three and more failures in a row, in seconds.
pub const PAUSES: [u64; 4] = [60, 600, 6_000, 86_400];
/// The same after failures of which the CA knows nothing, as it could not be reached or was in trouble itself.
pub const OUTAGE_PAUSES: [u64; 5] = [10, 20, 60, 300, 600];
/// How many validations of one name may fail within [`LEDGER_SECONDS`]; Let's Encrypt allows five.
pub const MOST_FAILED_VALIDATIONS: usize = 3;
/// For how long a failed validation counts, in seconds.
pub const LEDGER_SECONDS: u64 = 3_600;
/// How often a CA is asked when to renew, in seconds.
pub const ASK_SECONDS: u64 = 6 * 3_600;
/// Certificates that live shorter than this are renewed at half of their life, in seconds.
const SHORT: u64 = 10 * 86_400;

/// What there is of a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// A digest of what is asked for.
    pub made_for: &'a str,
    /// How long before its end it should be renewed, in seconds; absent: by its life.
    pub renew_before: Option<u64>,
    /// Whether a new one is wanted now: a person asks for it, or the key of this one is lost.
    pub forced: bool,
    /// The certificate that is served.
    pub stored: Option<&'a StoredCertificate>,
    /// The order under way, and what came of those before.
    pub order: Option<&'a StoredOrder>,
    /// When the name with the most failed validations may be tried again, in seconds since 1970.
    pub names_free_at: u64,
    /// Seconds since 1970.
    pub now: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until then.
    Keep {
        /// When it is worth another look.
        until: u64,
    },
    /// Ask the CA when it suggests to renew.
    AskWhen,
    /// A certificate is due, and has to wait.
    Wait {
        /// Until when.
        until: u64,
        /// Whether it is because of validations that failed; otherwise because attempts did.
        validations: bool,
    },
    /// Go on with the order, or make one.
    Issue {
        /// Whether it takes the place of a certificate that was made for the same.
        renewal: bool,
    },
}

/// When a certificate is to be renewed: when the CA suggests, else when a person has said, else by its life. Never soon
/// after it was made: a CA that always says "now", or a life shorter than what a person has said, make no loop.
pub fn renewal_time(
    stored: &StoredCertificate,
    order: Option<&StoredOrder>,
    renew_before: Option<u64>,
) -> u64 {
    let life = stored.not_after.saturating_sub(stored.not_before);
    let usual = if life < SHORT { life / 2 } else { life / 3 };
    let before = renew_before.filter(|before| *before < life / 10 * 9).unwrap_or(usual);
    let planned = stored.not_after.saturating_sub(before);
    let suggested = order.and_then(|order| order.renewal_at);
    let earliest = stored.issued_at.saturating_add((life / 10).min(86_400));
    suggested.unwrap_or(planned).max(earliest)
}

/// Why an attempt failed, as far as the next one is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody has said no, or something is not as it has to be.
    Refusal,
    /// The CA could not be reached, or was in trouble itself.
    Outage,
}

/// How many failures in a row there are with one more. An outage, however long, is no more than one of the refusals that
/// make the pauses long.
pub fn count(failures: u64, before: Cause, now: Cause) -> u64 {
    let counted = if before == Cause::Outage && now == Cause::Refusal { failures.min(1) } else { failures };
    counted.saturating_add(1)
}

/// How long to wait after so many failures in a row: at least what the CA has said.
pub fn pause(failures: u64, cause: Cause, retry_after: Option<u64>) -> u64 {
    let pauses: &[u64] = match cause {
        Cause::Refusal => &PAUSES,
        Cause::Outage => &OUTAGE_PAUSES,
    };
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(pauses.len() - 1);
    // A CA that says "in ten years" is not obeyed for longer than a week: by then a person has looked.
    pauses[index].max(retry_after.unwrap_or(0).min(7 * 86_400))
}

/// When a name may be tried again, of the times at which its validations failed, the newest first.
pub fn free_at(failed: &[u64]) -> u64 {
    failed.get(MOST_FAILED_VALIDATIONS - 1).map_or(0, |third| third.saturating_add(LEDGER_SECONDS))
}

/// What to do next.
pub fn decide(situation: &Situation<'_>) -> Step {
    let Situation { made_for, renew_before, stored, now, .. } = *situation;
    let same = |order: &&StoredOrder| order.made_for == made_for;
    let order = situation.order.filter(same);
    let current = stored.filter(|stored| stored.made_for == made_for);
    let under_way = order.is_some_and(|order| order.url.is_some() || order.failures > 0);
    let due = match current {
        None => true,
        Some(stored) => situation.forced || under_way || renewal_time(stored, order, renew_before) <= now,
    };
    if !due {
        let stored = current.expect("without one it is due");
        let asked = order.map_or(0, |order| order.renewal_asked);
        if asked <= now {
            return Step::AskWhen;
        }
        return Step::Keep { until: renewal_time(stored, order, renew_before).min(asked) };
    }
    let paused = order.map_or(0, |order| order.next_attempt);
    if paused > now {
        return Step::Wait { until: paused, validations: false };
    }
    if situation.names_free_at > now {
        return Step::Wait { until: situation.names_free_at, validations: true };
    }
    Step::Issue { renewal: current.is_some() }
}

#[cfg(test)]
mod tests;
