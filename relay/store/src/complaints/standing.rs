//! How far a complaint has come. Pure.

use super::{Complaint, Decision};
use crate::RelaySeen;

/// Where a complaint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a decision.
    Open,
    /// Some relays have not confirmed yet.
    Enforcing,
    /// All relays have confirmed.
    Enforced,
    /// It is over.
    Lifted,
    /// It was not right.
    Dismissed,
    /// Its time is over.
    Expired,
}

impl Phase {
    /// The phase as people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Enforcing => "Enforcing",
            Self::Enforced => "Enforced",
            Self::Lifted => "Lifted",
            Self::Dismissed => "Dismissed",
            Self::Expired => "Expired",
        }
    }
}

/// How far a complaint has come, and whom it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub phase: Phase,
    /// How many relays have read the suspensions since, and closed what they hit.
    pub confirmed: usize,
    /// How many relays there are that are not proven gone.
    pub relays: usize,
    /// Those that have not confirmed: region and id.
    pub outstanding: Vec<(String, String)>,
}

impl Standing {
    /// Where a complaint stands at `now`. `relays` are all that are not proven gone: silence proves nothing.
    pub fn of(complaint: &Complaint, relays: &[RelaySeen], now: u64) -> Self {
        let has_confirmed = |relay: &&RelaySeen| relay.suspensions_version >= complaint.version;
        let outstanding: Vec<_> = relays
            .iter()
            .filter(|relay| !has_confirmed(relay))
            .map(|relay| (relay.region.clone(), relay.relay.to_string()))
            .collect();
        let phase = match complaint.filing.decision {
            Decision::Pending => Phase::Open,
            Decision::Dismissed => Phase::Dismissed,
            Decision::Lifted => Phase::Lifted,
            Decision::Acknowledged if complaint.filing.until.is_some_and(|until| until <= now) => {
                Phase::Expired
            }
            Decision::Acknowledged if outstanding.is_empty() => Phase::Enforced,
            Decision::Acknowledged => Phase::Enforcing,
        };
        Self { phase, confirmed: relays.len() - outstanding.len(), relays: relays.len(), outstanding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Filing, Scope, Subject};

    fn complaint(decision: Decision, until: Option<u64>) -> Complaint {
        let filing = Filing {
            id: "c".to_owned(),
            name: "c".to_owned(),
            source: "admin".to_owned(),
            subject: Subject::Host("a.example.com".to_owned()),
            against: "a.example.com".to_owned(),
            category: "Spam".to_owned(),
            description: String::new(),
            reporter: String::new(),
            evidence: vec![],
            decision,
            scope: Scope::Account,
            until,
            by: String::new(),
            why: String::new(),
        };
        Complaint { version: 7, ..Complaint::filed(filing, 1) }
    }

    fn relay(region: &str, id: &str, version: u64) -> RelaySeen {
        RelaySeen {
            region: region.to_owned(),
            relay: id.parse().unwrap(),
            started: 0,
            seen: 0,
            suspensions_version: version,
            config_revision: String::new(),
            config_refused: None,
            draining: false,
            sessions: 0,
            tunnels: 0,
            registry_up: true,
            challenges_version: 0,
            served: vec![],
            certificate_problem: None,
        }
    }

    #[test]
    fn it_is_enforced_once_every_relay_has_confirmed() {
        let relays = [relay("eu", "a", 7), relay("eu", "b", 6), relay("us", "a", 9)];
        let standing = Standing::of(&complaint(Decision::Acknowledged, None), &relays, 10);
        assert_eq!((standing.phase, standing.confirmed, standing.relays), (Phase::Enforcing, 2, 3));
        assert_eq!(standing.outstanding, [("eu".to_owned(), "b".to_owned())]);
        let all = [relays[0].clone(), relays[2].clone()];
        assert_eq!(Standing::of(&complaint(Decision::Acknowledged, None), &all, 10).phase, Phase::Enforced);
        let phase = |decision, until| Standing::of(&complaint(decision, until), &relays, 10).phase;
        assert_eq!(phase(Decision::Acknowledged, Some(10)), Phase::Expired);
        assert_eq!(phase(Decision::Acknowledged, Some(11)), Phase::Enforcing);
        assert_eq!(phase(Decision::Pending, Some(1)), Phase::Open);
        assert_eq!(phase(Decision::Dismissed, Some(1)), Phase::Dismissed);
        assert_eq!(phase(Decision::Lifted, None), Phase::Lifted);
    }
}
