//! The progress of a complaint. Pure.

use super::{Complaint, Decision};
use crate::RelayStatus;

/// The phase of a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a decision.
    Open,
    /// Some relays have not confirmed yet.
    Enforcing,
    /// All relays have confirmed.
    Enforced,
    /// Lifted.
    Lifted,
    /// Dismissed.
    Dismissed,
    /// Its suspension has expired.
    Expired,
}

impl Phase {
    /// The name of the phase.
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

/// The progress of a complaint, and the relays that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcementProgress {
    /// The phase.
    pub phase: Phase,
    /// The number of relays that have read the suspensions since and closed the sessions that they hit.
    pub confirmed: usize,
    /// The number of relays that are not proven gone.
    pub relays: usize,
    /// The relays that have not confirmed: region and id.
    pub outstanding: Vec<(String, String)>,
}

impl EnforcementProgress {
    /// The progress at `now`. `relays` are all that are not proven gone, because silence proves nothing.
    pub fn of(complaint: &Complaint, relays: &[RelayStatus], now: u64) -> Self {
        let has_confirmed = |relay: &&RelayStatus| relay.suspensions_version >= complaint.version;
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

    fn relay(region: &str, id: &str, version: u64) -> RelayStatus {
        RelayStatus {
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
        let standing = EnforcementProgress::of(&complaint(Decision::Acknowledged, None), &relays, 10);
        assert_eq!((standing.phase, standing.confirmed, standing.relays), (Phase::Enforcing, 2, 3));
        assert_eq!(standing.outstanding, [("eu".to_owned(), "b".to_owned())]);
        let all = [relays[0].clone(), relays[2].clone()];
        assert_eq!(
            EnforcementProgress::of(&complaint(Decision::Acknowledged, None), &all, 10).phase,
            Phase::Enforced
        );
        let phase = |decision, until| EnforcementProgress::of(&complaint(decision, until), &relays, 10).phase;
        assert_eq!(phase(Decision::Acknowledged, Some(10)), Phase::Expired);
        assert_eq!(phase(Decision::Acknowledged, Some(11)), Phase::Enforcing);
        assert_eq!(phase(Decision::Pending, Some(1)), Phase::Open);
        assert_eq!(phase(Decision::Dismissed, Some(1)), Phase::Dismissed);
        assert_eq!(phase(Decision::Lifted, None), Phase::Lifted);
    }
}
