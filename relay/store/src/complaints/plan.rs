//! Plans the changes that follow from a complaint. Pure: the caller reads the store.

use super::{Complaint, Decision, Filing, Scope, Subject};
use crate::{Suspended, Suspension};
use adit_protocol::Account;

/// What the store knows about the subject of a complaint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The account itself, or the last owner of the host name or port.
    pub(super) account: Option<Account>,
    /// The endpoints of that account, as keys of reservations.
    pub(super) names: Vec<String>,
}

/// The change of the suspensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// None.
    Nothing,
    /// Put this suspension in force until its end.
    Suspend(Suspension),
    /// Lift the complaint's suspension.
    LiftOwn,
    /// Lift the complaint's suspension, and those that deleted complaints left for the same target.
    LiftAll(Suspended),
}

/// The changes that follow from a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The complaint from now on.
    pub(super) after: Complaint,
    /// The change of the suspensions.
    pub(super) effect: Effect,
    /// The entry for its history.
    pub(super) history: Vec<&'static str>,
}

/// Whether the account and its host names are looked up again: while nothing is decided, and once with each decision. A
/// decision stays about the account that it was made for.
pub(super) fn looks(before: Option<&Complaint>, filing: &Filing) -> bool {
    let Some(before) = before else { return true };
    match (before.filing.decision, filing.decision) {
        (Decision::Pending, _) => true,
        (old, Decision::Acknowledged) => old != Decision::Acknowledged,
        _ => false,
    }
}

/// What follows from a complaint as its source has it at `now`; `before` is how the store has it. `found` is new if
/// [`looks`] says that it is needed.
pub(super) fn plan(before: Option<&Complaint>, filing: &Filing, found: Option<Found>, now: u64) -> Plan {
    let mut after = before.cloned().unwrap_or_else(|| Complaint::filed(filing.clone(), now));
    let mut history = if before.is_none() { vec!["filed"] } else { vec![] };
    let old = before.map_or(Decision::Pending, |before| before.filing.decision);
    let is_news = old != filing.decision;
    if is_news {
        after.decided_at = Some(now);
        history.push(filing.decision.deed());
    } else if old == Decision::Acknowledged
        && before
            .is_some_and(|before| (before.filing.scope, before.filing.until) != (filing.scope, filing.until))
    {
        history.push("changed");
    }
    if is_news && filing.decision == Decision::Acknowledged {
        after.acknowledged_at = Some(now);
        after.enforced_at = None;
    }
    after.filing = filing.clone();
    if let Some(found) = found {
        after.account = found.account;
        after.hostnames = found.names;
    }
    let effect = match filing.decision {
        Decision::Pending => Effect::Nothing,
        Decision::Acknowledged => Effect::Suspend(suspension(&after, now)),
        Decision::Dismissed if is_news => Effect::LiftOwn,
        Decision::Lifted if is_news => Effect::LiftAll(target(&after)),
        Decision::Dismissed | Decision::Lifted => Effect::Nothing,
    };
    Plan { after, effect, history }
}

/// The target that a complaint suspends: the host name itself if nobody has had it.
pub(super) fn target(complaint: &Complaint) -> Suspended {
    match (complaint.filing.scope, &complaint.account) {
        (Scope::Account, Some(account)) => Suspended::Account(account.clone()),
        _ => complaint.filing.subject.suspended(),
    }
}

fn suspension(complaint: &Complaint, now: u64) -> Suspension {
    let target = target(complaint);
    let mut hostnames = match &target {
        Suspended::Account(_) => complaint.hostnames.clone(),
        Suspended::Hostname(_) | Suspended::Port { .. } => vec![],
    };
    if let Subject::Host(_) | Subject::Port { .. } = &complaint.filing.subject {
        let own = complaint.filing.subject.text();
        if !hostnames.contains(&own) {
            hostnames.push(own);
        }
    }
    hostnames.sort_unstable();
    Suspension {
        id: complaint.filing.id.clone(),
        target,
        until: complaint.filing.until,
        reason: complaint.filing.category.to_ascii_lowercase(),
        complaint: Some(complaint.filing.name.clone()),
        since: complaint.acknowledged_at.unwrap_or(now),
        hostnames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filing(decision: Decision) -> Filing {
        Filing {
            id: "uid-1".to_owned(),
            name: "cpl-1".to_owned(),
            source: "tunnels/cpl-1".to_owned(),
            subject: Subject::Host("login-bank.eu.example.com".to_owned()),
            against: "https://login-bank.eu.example.com/verify".to_owned(),
            category: "Phishing".to_owned(),
            description: String::new(),
            reporter: String::new(),
            evidence: vec![],
            decision,
            scope: Scope::Account,
            until: None,
            by: "ana".to_owned(),
            why: "a copy of a bank".to_owned(),
        }
    }

    fn eve() -> Found {
        Found {
            account: Some(Account::managed("eve")),
            names: vec!["shop.eu.example.com".to_owned(), "login-bank.eu.example.com".to_owned()],
        }
    }

    #[test]
    fn an_acknowledged_complaint_suspends_a_pending_one_does_not() {
        let open = plan(None, &filing(Decision::Pending), Some(eve()), 100);
        assert_eq!((open.effect, open.history), (Effect::Nothing, vec!["filed"]));
        assert_eq!(open.after.account, Some(Account::managed("eve")));

        let acknowledged = plan(Some(&open.after), &filing(Decision::Acknowledged), Some(eve()), 150);
        let Effect::Suspend(suspension) = &acknowledged.effect else { panic!("{acknowledged:?}") };
        assert_eq!(suspension.target, Suspended::Account(Account::managed("eve")));
        assert_eq!(suspension.hostnames, ["login-bank.eu.example.com", "shop.eu.example.com"]);
        assert_eq!((suspension.reason.as_str(), suspension.since), ("phishing", 150));
        assert_eq!(acknowledged.history, ["acknowledged"]);
        assert!(!looks(Some(&acknowledged.after), &filing(Decision::Acknowledged)));

        let again = plan(Some(&acknowledged.after), &filing(Decision::Acknowledged), None, 900);
        assert_eq!((&again.effect, again.history.len()), (&acknowledged.effect, 0), "the same once more");
        assert_eq!(again.after, acknowledged.after);
    }

    #[test]
    fn the_scope_says_whether_the_name_or_the_account_goes() {
        let name = Suspended::Hostname("login-bank.eu.example.com".to_owned());
        let narrow = Filing { scope: Scope::Hostname, ..filing(Decision::Acknowledged) };
        let Effect::Suspend(suspension) = plan(None, &narrow, Some(eve()), 1).effect else { panic!() };
        assert_eq!((&suspension.target, suspension.hostnames.len()), (&name, 1));
        // What nobody has had yet is kept out by its name, whatever the scope.
        let unseen = plan(None, &filing(Decision::Acknowledged), Some(Found::default()), 1);
        let Effect::Suspend(suspension) = unseen.effect else { panic!() };
        assert_eq!(suspension.target, name);

        // A scope that is edited afterwards changes whom it hits, not whom it is about.
        let wide = plan(None, &filing(Decision::Acknowledged), Some(eve()), 1).after;
        let edited = plan(Some(&wide), &narrow, None, 2);
        let Effect::Suspend(suspension) = edited.effect else { panic!() };
        assert_eq!((suspension.target, suspension.since, edited.history), (name, 1, vec!["changed"]));
    }

    #[test]
    fn an_ended_complaint_lifts_its_own_suspensions() {
        let acknowledged = plan(None, &filing(Decision::Acknowledged), Some(eve()), 1).after;
        let dismissed = plan(Some(&acknowledged), &filing(Decision::Dismissed), None, 2);
        assert_eq!((dismissed.effect, dismissed.history), (Effect::LiftOwn, vec!["dismissed"]));
        let lifted = plan(Some(&acknowledged), &filing(Decision::Lifted), None, 2);
        let eve = Suspended::Account(Account::managed("eve"));
        assert_eq!((lifted.effect, lifted.history), (Effect::LiftAll(eve.clone()), vec!["lifted"]));
        assert_eq!(plan(Some(&lifted.after), &filing(Decision::Lifted), None, 3).effect, Effect::Nothing);
        // One that is filed as lifted from the start is how a person frees what a deleted one has left.
        let frees = plan(None, &filing(Decision::Lifted), Some(self::eve()), 4);
        assert_eq!((frees.effect, frees.history), (Effect::LiftAll(eve), vec!["filed", "lifted"]));
        // An appeal is lost: it begins anew.
        assert!(looks(Some(&lifted.after), &filing(Decision::Acknowledged)));
        let again = plan(Some(&lifted.after), &filing(Decision::Acknowledged), Some(self::eve()), 9).after;
        assert_eq!(again.acknowledged_at, Some(9));
    }
}
