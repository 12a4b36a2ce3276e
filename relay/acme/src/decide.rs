//! Decides the next step for a certificate. Pure: a function of the request, the stored rows and the time.

use adit_store::{StoredCertificate, StoredOrder};

/// The delays after one, two, three and more refusals in a row, in seconds.
pub const REFUSAL_DELAYS: [u64; 4] = [60, 600, 6_000, 86_400];
/// The delays after outages of the CA in a row, in seconds. They are shorter because the CA does not count them.
pub const OUTAGE_DELAYS: [u64; 5] = [10, 20, 60, 300, 600];
/// The maximum number of failed validations of one name within [`FAILED_VALIDATION_WINDOW_SECONDS`]; Let's Encrypt allows five.
pub const MAX_FAILED_VALIDATIONS: usize = 3;
/// The time for which a failed validation counts, in seconds.
pub const FAILED_VALIDATION_WINDOW_SECONDS: u64 = 3_600;
/// The maximum interval between two requests for renewal information, in seconds.
pub const RENEWAL_INFO_INTERVAL_SECONDS: u64 = 6 * 3_600;
/// The lifetime in seconds below which a certificate is renewed at half of it.
const SHORT_LIFETIME: u64 = 10 * 86_400;

/// The facts that a decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The digest of the request.
    pub made_for: &'a str,
    /// The time before its end at which it should be renewed, in seconds; absent: a share of its lifetime.
    pub renew_before: Option<u64>,
    /// Whether a new one is needed at once: a person asked for it, or the key is lost.
    pub forced: bool,
    /// The certificate that is served.
    pub stored: Option<&'a StoredCertificate>,
    /// The order, and the result of the last attempt.
    pub order: Option<&'a StoredOrder>,
    /// The time at which validations are allowed for all names again, in seconds since 1970.
    pub names_allowed_at: u64,
    /// Seconds since 1970.
    pub now: u64,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Do nothing.
    Keep {
        /// The time of the next decision in seconds since 1970.
        until: u64,
    },
    /// Ask the CA for renewal information (RFC 9773).
    FetchRenewalInfo,
    /// A certificate is due, and has to wait.
    Wait {
        /// The end of the wait in seconds since 1970.
        until: u64,
        /// Whether it waits because validations failed; otherwise because attempts did.
        validations: bool,
    },
    /// Continue the order, or make one.
    Issue {
        /// Whether it replaces a certificate of the same request.
        renewal: bool,
    },
}

/// The time of renewal in seconds since 1970: the CA's suggestion, else the configured time before the end, else a share of
/// the lifetime. It is never soon after issuing, so that a CA that always suggests "now" makes no loop.
pub fn renewal_time(
    stored: &StoredCertificate,
    order: Option<&StoredOrder>,
    renew_before: Option<u64>,
) -> u64 {
    let life = stored.not_after.saturating_sub(stored.not_before);
    let usual = if life < SHORT_LIFETIME { life / 2 } else { life / 3 };
    let before = renew_before.filter(|before| *before < life / 10 * 9).unwrap_or(usual);
    let planned = stored.not_after.saturating_sub(before);
    let suggested = order.and_then(|order| order.renewal_at);
    let earliest = stored.issued_at.saturating_add((life / 10).min(86_400));
    suggested.unwrap_or(planned).max(earliest)
}

/// The kind of failure of an attempt; it decides the delay before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// The CA or a check refused.
    Refusal,
    /// The CA could not be reached, or had an internal error.
    Outage,
}

/// The number of failures in a row after one more. The first refusal after outages counts as the second failure at most, so
/// that a long outage does not make the delays of refusals long.
pub fn count_failure(failures: u64, before: FailureCause, now: FailureCause) -> u64 {
    let counted = if before == FailureCause::Outage && now == FailureCause::Refusal {
        failures.min(1)
    } else {
        failures
    };
    counted.saturating_add(1)
}

/// The delay in seconds after a number of failures in a row, at least the CA's Retry-After.
pub fn retry_delay(failures: u64, cause: FailureCause, retry_after: Option<u64>) -> u64 {
    let delays: &[u64] = match cause {
        FailureCause::Refusal => &REFUSAL_DELAYS,
        FailureCause::Outage => &OUTAGE_DELAYS,
    };
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(delays.len() - 1);
    // A longer Retry-After counts as a week, so that a wrong one does not stop renewals.
    delays[index].max(retry_after.unwrap_or(0).min(7 * 86_400))
}

/// The time at which a name may be validated again, from the times of its failed validations, newest first.
pub fn validation_allowed_at(failed: &[u64]) -> u64 {
    failed
        .get(MAX_FAILED_VALIDATIONS - 1)
        .map_or(0, |third| third.saturating_add(FAILED_VALIDATION_WINDOW_SECONDS))
}

/// Decides the next step.
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
            return Step::FetchRenewalInfo;
        }
        return Step::Keep { until: renewal_time(stored, order, renew_before).min(asked) };
    }
    let paused = order.map_or(0, |order| order.next_attempt);
    if paused > now {
        return Step::Wait { until: paused, validations: false };
    }
    if situation.names_allowed_at > now {
        return Step::Wait { until: situation.names_allowed_at, validations: true };
    }
    Step::Issue { renewal: current.is_some() }
}

#[cfg(test)]
mod tests;
