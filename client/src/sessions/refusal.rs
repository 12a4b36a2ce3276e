//! Decides what the client does after a relay's refusal.

use crate::{event::Time, problem::Problem};
use adit_protocol::{Code, HelloRefusal, SuspensionNotice};
use std::time::Duration;

/// No relay keeps a client away for longer than this.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_secs(3600);

/// The client's next step after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalAction {
    /// Forget the credential and present a token.
    UseToken,
    /// Try again, not before this time if there is one.
    Retry(Option<Duration>),
    /// End the client: another try would be refused as well.
    Final,
}

/// Decides the next step. `has_other`: a credential was presented, and there is a token as well.
pub(super) fn action_after(refused: &HelloRefusal, has_other: bool) -> RefusalAction {
    let after = refused.retry_after_ms.map(|ms| Duration::from_millis(ms).min(MAX_RETRY_DELAY));
    match refused.code {
        Code::CredentialInvalid | Code::CredentialExpired | Code::PossessionFailed if has_other => {
            RefusalAction::UseToken
        }
        Code::Suspended | Code::UpgradeRequired | Code::Replaced => RefusalAction::Final,
        Code::RegistryUnavailable
        | Code::StoreUnavailable
        | Code::Overloaded
        | Code::Draining
        | Code::Internal
        | Code::Unknown => RefusalAction::Retry(after),
        _ => after.map_or(RefusalAction::Final, |after| RefusalAction::Retry(Some(after))),
    }
}

/// The refusal as a person reads it. `now` is this computer's clock in seconds since 1970.
///
/// `claims` are those of the refused token.
pub(super) fn problem_of(refused: &HelloRefusal, claims: &[(&'static str, String)], now: u64) -> Problem {
    let at = |seconds: u64| Time::from_unix_ms(seconds.saturating_mul(1000)).to_seconds();
    let clock = |seconds: u64| at(seconds)[11..19].to_owned();
    let mut problem = Problem::new(refused.code.as_str());
    for (fact, value) in &refused.facts {
        problem = problem.with(fact, value.as_str());
    }
    problem = problem.with("message", refused.message.as_str());
    if refused.code.as_str().starts_with("token_") || refused.code == Code::ClockSkew {
        problem = claims.iter().fold(problem, |problem, (fact, value)| problem.with(fact, value.as_str()));
    }
    if let Some(version) = &refused.min_version {
        problem = problem.with("leastVersion", version.as_str());
    }
    if !refused.provider.abuse.is_empty() {
        problem = problem.with("abuse", refused.provider.abuse.as_str());
    }
    if let Some(notice) = &refused.suspension {
        problem = with_suspension(problem, notice);
    }
    if refused.code == Code::ClockSkew {
        let direction = if now < refused.time { "slow" } else { "fast" };
        let minutes = (now.abs_diff(refused.time) + 30) / 60;
        if minutes > 0 {
            problem = problem
                .with("skew", format!("{minutes} min {direction}"))
                .with("localTime", clock(now))
                .with("relayTime", clock(refused.time))
                .with("fix", "sudo timedatectl set-ntp true");
        } else {
            // The clocks here and at the relay agree: it is the one where the token was made that is ahead.
            problem = problem.with("now", at(refused.time).trim_end_matches('Z').replace('T', " "));
        }
    }
    problem
}

/// Adds the facts of a suspension: subject, end, reason, complaint, and the address for questions.
pub(super) fn with_suspension(problem: Problem, notice: &SuspensionNotice) -> Problem {
    let mut problem = problem.with("account", notice.against.as_str()).with("reason", notice.reason.as_str());
    if let Some(until) = notice.until {
        let text = Time::from_unix_ms(until.saturating_mul(1000)).to_seconds();
        let day = text.strip_suffix("T00:00:00Z").unwrap_or(&text).to_owned();
        problem = problem.with("until", day);
    }
    if let Some(complaint) = &notice.complaint {
        problem = problem.with("complaint", complaint.as_str());
    }
    if !notice.abuse.is_empty() {
        problem = problem.with("abuse", notice.abuse.as_str());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, retry_after_ms: Option<u64>) -> HelloRefusal {
        HelloRefusal {
            code,
            message: "because".into(),
            time: 1_000_000,
            min_version: None,
            retry_after_ms,
            provider: Default::default(),
            suspension: None,
            facts: Default::default(),
        }
    }

    #[test]
    fn only_what_may_change_is_tried_again() {
        let of = |code, after, other| action_after(&refused(code, after), other);
        assert_eq!(of(Code::Suspended, Some(5), false), RefusalAction::Final);
        assert_eq!(of(Code::TokenExpired, None, false), RefusalAction::Final);
        assert_eq!(of(Code::TooManySessions, None, false), RefusalAction::Final);
        assert_eq!(
            of(Code::TooManySessions, Some(5), false),
            RefusalAction::Retry(Some(Duration::from_millis(5)))
        );
        assert_eq!(of(Code::Overloaded, None, false), RefusalAction::Retry(None));
        assert_eq!(of(Code::CredentialExpired, None, true), RefusalAction::UseToken);
        assert_eq!(of(Code::CredentialExpired, None, false), RefusalAction::Final);
    }

    #[test]
    fn a_region_says_where_its_tokens_are_made() {
        let command = ("tokenCommand".to_owned(), "adit-relay token --account NAME > token".to_owned());
        let expired = HelloRefusal { facts: [command].into(), ..refused(Code::TokenExpired, None) };
        let next = problem_of(&expired, &[], 0).next;
        let expected = "on the relay's machine: adit-relay token --account NAME > token";
        assert_eq!(next.as_deref(), Some(expected));
    }

    #[test]
    fn a_suspended_account_is_told_until_when_and_why() {
        let notice = SuspensionNotice {
            against: "acme-ci".to_owned(),
            until: Some(1_798_761_600),
            reason: "phishing".to_owned(),
            complaint: Some("cpl-7f3k".to_owned()),
            abuse: "abuse@example.com".to_owned(),
        };
        let told = problem_of(
            &HelloRefusal { suspension: Some(Box::new(notice)), ..refused(Code::Suspended, None) },
            &[],
            0,
        );
        assert_eq!(told.to_string(), "account acme-ci is suspended until 2027-01-01 [suspended]");
        assert_eq!(told.why.as_deref(), Some("phishing, complaint cpl-7f3k"));
        assert_eq!(told.next.as_deref(), Some("write to abuse@example.com and name the complaint"));
    }

    #[test]
    fn a_wrong_clock_is_told_with_both_times() {
        let problem = problem_of(&refused(Code::ClockSkew, None), &[], 1_000_000 - 11 * 60);
        assert_eq!(problem.message, "this computer's clock is 11 min slow");
        assert_eq!(problem.details["relayTime"], "13:46:40");
        assert_eq!(problem.details["localTime"], "13:35:40");
    }

    #[test]
    fn a_token_from_the_future_is_told_without_two_equal_times() {
        let claims = [("notBefore", "1970-01-12 13:56:40".to_owned())];
        let problem = problem_of(&refused(Code::ClockSkew, None), &claims, 1_000_001);
        assert_eq!(problem.message, "the token is not valid yet");
        assert_eq!(
            problem.why.as_deref(),
            Some("it starts at 1970-01-12 13:56:40 UTC; the relay's clock says 1970-01-12 13:46:40 UTC")
        );
        assert!(problem.next.is_some_and(|next| next.contains("that made the token")));
    }

    #[test]
    fn a_refused_token_is_told_with_its_own_claims() {
        let claims =
            [("audience", "us.example.com".to_owned()), ("expired", "2026-11-21 10:41:07".to_owned())];
        let why = |code| problem_of(&refused(code, None), &claims, 0).why;
        assert_eq!(why(Code::TokenAudience).as_deref(), Some("it was made for \"us.example.com\""));
        assert_eq!(why(Code::TokenExpired).as_deref(), Some("it expired at 2026-11-21 10:41:07 UTC"));
        assert!(!problem_of(&refused(Code::NameTaken, None), &claims, 0).details.contains_key("audience"));
    }
}
