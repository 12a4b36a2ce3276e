//! Which relays are believed to be there.

use crate::cluster::row::{MAX_RELAYS, RELAY_TTL, RelayRecord};
use adit_protocol::RelayId;
use std::{collections::BTreeMap, time::Duration};

#[derive(Debug, Default)]
pub(super) struct Relays(BTreeMap<RelayId, RelaySighting>);

#[derive(Debug, Default)]
struct RelaySighting {
    record: Option<RelayRecord>,
    /// The version of its last beat, 0 when there was none in this epoch.
    beat: u64,
    /// The version at which it left, 0 when it did not.
    left: u64,
    /// How long it was not heard of while the registry could be.
    silence: Duration,
}

impl RelaySighting {
    fn is_lost(&self) -> bool {
        self.silence > RELAY_TTL
    }

    fn has_left(&self) -> bool {
        self.left > self.beat
    }
}

impl Relays {
    /// A relay of which a row speaks is believed in as if it had just been heard, unless it is known.
    pub(super) fn mention(&mut self, relay: &RelayId) {
        self.entry(relay);
    }

    fn entry(&mut self, relay: &RelayId) -> Option<&mut RelaySighting> {
        if self.0.len() >= MAX_RELAYS && !self.0.contains_key(relay) {
            return None;
        }
        Some(self.0.entry(relay.clone()).or_default())
    }

    /// Returns whether the relay is there again after it was not.
    pub(super) fn beat(&mut self, version: u64, record: RelayRecord) -> bool {
        let Some(seen) = self.entry(&record.relay) else { return false };
        if version <= seen.beat {
            return false;
        }
        let was_away = seen.is_lost() || seen.has_left();
        seen.beat = version;
        seen.record = Some(record);
        seen.silence = Duration::ZERO;
        was_away && !seen.has_left()
    }

    pub(super) fn left(&mut self, version: u64, relay: &RelayId) {
        if let Some(seen) = self.entry(relay) {
            seen.left = seen.left.max(version);
        }
    }

    /// Whether a session of the relay in a row of this version can be reached.
    pub(super) fn is_there(&self, relay: &RelayId, version: u64) -> bool {
        self.0
            .get(relay)
            .is_some_and(|seen| !seen.is_lost() && (seen.left == 0 || seen.left < seen.beat.max(version)))
    }

    /// Takes in the registry's relays. Others may not have said anything yet since it has lost its content.
    ///
    /// Nobody could be heard before, so that everybody's time starts anew.
    pub(super) fn restart(&mut self, records: Vec<(u64, RelayRecord)>) {
        self.0.retain(|_, seen| !seen.has_left());
        for seen in self.0.values_mut() {
            (seen.beat, seen.left, seen.silence) = (0, 0, Duration::ZERO);
        }
        for (version, record) in records {
            self.beat(version, record);
        }
    }

    /// Lets time pass, and returns the relays that are lost by it. A relay never loses itself.
    pub(super) fn pass(&mut self, time: Duration, me: &RelayId) -> Vec<RelayId> {
        let mut lost = Vec::new();
        for (relay, seen) in self.0.iter_mut().filter(|(relay, _)| *relay != me) {
            let was_lost = seen.is_lost();
            seen.silence = seen.silence.saturating_add(time);
            if !was_lost && seen.is_lost() {
                lost.push(relay.clone());
            }
        }
        lost
    }

    /// Forgets relays that have left and that no row speaks of.
    pub(super) fn tidy(&mut self, is_spoken_of: impl Fn(&RelayId) -> bool) {
        self.0.retain(|relay, seen| !seen.has_left() || is_spoken_of(relay));
    }

    pub(super) fn lost(&self) -> impl Iterator<Item = &RelayId> {
        self.0.iter().filter(|(_, seen)| seen.is_lost()).map(|(relay, _)| relay)
    }

    pub(super) fn healthy(&self) -> Vec<RelayRecord> {
        let healthy = self.0.values().filter(|seen| !seen.is_lost() && !seen.has_left());
        healthy.filter_map(|seen| seen.record.clone()).collect()
    }
}
