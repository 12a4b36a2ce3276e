//! Which sessions a client should hold: a pure account of relays, sessions and dials.
//!
//! A client holds sessions with two relays, as many with each as that relay's welcome says. It cannot choose which relay a
//! dial reaches; it can only name relays to avoid, and those answer `elsewhere`. While it has fewer than two relays it
//! avoids the one that it has. Then it names the two as the only ones, until each has its number of sessions. In a large
//! region that takes many dials and gains little, so the client soon settles for fewer sessions with its two relays.

use super::backoff::Backoff;
use crate::{lanes, session::SessionKey};
use adit_protocol::{HelloRedirect, RelayId, Welcome, hello::MAX_AVOID};
use std::time::Duration;
use tokio::time::Instant;

/// The most relays that a client has sessions with.
const MAX_RELAYS: usize = 2;
/// A dial that takes longer than this gets company while the client has fewer relays than it should have.
const SLOW_DIAL_TIME: Duration = Duration::from_secs(2);
/// The most dials at once.
const MAX_DIALS: usize = 3;
/// The most searches for another relay in quick succession.
const MAX_FAST_SEARCHES: u32 = 8;
/// The most searches after those, each after a longer pause: load balancers show a new relay a second or two late.
const MAX_LATE_SEARCHES: u32 = 8;
/// The pause before the first two of these searches; it doubles every two searches.
const LATE_SEARCH_DELAY: Duration = Duration::from_secs(1);
/// The pause before the next series of searches.
const SEARCH_INTERVAL: Duration = Duration::from_secs(30);
/// The pause between searches in a region of one relay.
const ONE_RELAY_SEARCH_INTERVAL: Duration = Duration::from_secs(200);
/// The pause before the next search for a relay with fewer sessions than it should have.
const FILL_INTERVAL: Duration = Duration::from_secs(3600);
/// The pause between searches while a relay drains and no other answers; also the longest back-off then.
const DRAIN_SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause between two quick searches.
const MAX_SEARCH_DELAY: Duration = Duration::from_millis(100);
/// A new relay is searched for within this time, at random: thousands of clients learn of it at once.
const MAX_NEWS_DELAY: Duration = Duration::from_secs(1);
/// With a session left, a lost one is redialled within this time, at random: its relay may have lost thousands.
const MAX_REDIAL_SPREAD: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct HeldSession {
    key: SessionKey,
    relay: RelayId,
    lane: usize,
    since: Instant,
    state: HeldState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldState {
    Serving,
    /// Its relay drains.
    Moving,
    /// The client has let it go.
    Leaving,
}

#[derive(Debug)]
struct PendingDial {
    key: SessionKey,
    lane: usize,
    since: Instant,
    target: DialTarget,
}

/// The relays that a dial may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DialTarget {
    /// None of these.
    pub(super) avoid: Vec<RelayId>,
    /// If there are any, one of these.
    pub(super) only: Vec<RelayId>,
}

impl DialTarget {
    fn allows(&self, relay: &RelayId) -> bool {
        !self.avoid.contains(relay) && (self.only.is_empty() || self.only.contains(relay))
    }
}

/// The state of the search for another relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SearchOutcome {
    /// There will be another dial soon.
    GoesOn,
    /// There is no other relay now, and none is needed.
    Ended,
    /// There should be a second relay, and for a while it is not looked for.
    InVain,
}

/// One dial to make.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DialOrder {
    pub(super) lane: usize,
    pub(super) target: DialTarget,
}

/// The sessions and dials of a client.
#[derive(Debug)]
pub(super) struct SessionPlan {
    held: Vec<HeldSession>,
    dials: Vec<PendingDial>,
    /// How many sessions each relay should have; 0 until one has said so.
    per_relay: usize,
    /// How many relays the region has.
    relays: usize,
    backoff: Backoff,
    /// No dial before this.
    pause_until: Option<Instant>,
    /// No search for another relay before this.
    search_at: Option<Instant>,
    searches: u32,
}

impl SessionPlan {
    /// No session and no dial.
    pub(super) fn new() -> Self {
        Self {
            held: vec![],
            dials: vec![],
            per_relay: 0,
            relays: 1,
            backoff: Backoff::default(),
            pause_until: None,
            search_at: None,
            searches: 0,
        }
    }

    fn serving(&self) -> impl Iterator<Item = &HeldSession> {
        self.held.iter().filter(|held| held.state == HeldState::Serving)
    }

    /// Whether a session is there that takes streams, one of a draining relay included.
    pub(super) fn is_served(&self) -> bool {
        self.held.iter().any(|held| held.state != HeldState::Leaving)
    }

    /// The relays that serve, each once.
    fn serving_relays(&self) -> Vec<RelayId> {
        let mut plan = vec![];
        self.serving().for_each(|held| push_new(&mut plan, &held.relay));
        plan
    }

    /// How many relays the client should have.
    fn relays_wanted(&self) -> usize {
        self.relays.min(MAX_RELAYS)
    }

    /// Whether the client has as many relays as it should have.
    pub(super) fn has_enough_relays(&self) -> bool {
        self.serving_relays().len() >= self.relays_wanted()
    }

    /// Whether all sessions are there that should be.
    #[cfg(test)]
    pub(super) fn is_complete(&self) -> bool {
        self.serving().count() >= self.per_relay * self.relays_wanted()
    }

    /// The next dial to make now, if there is one. It counts as made.
    pub(super) fn next_order(&mut self, key: SessionKey, now: Instant) -> Option<DialOrder> {
        if self.pause_until.is_some_and(|until| now < until) {
            return None;
        }
        let target = self.next_target(now)?;
        let lanes = self.per_relay.clamp(1, lanes::MAX_LANES);
        let load = |lane: usize| {
            self.serving().filter(|held| held.lane == lane).count()
                + self.dials.iter().filter(|dial| dial.lane == lane).count()
        };
        let lane = (0..lanes).min_by_key(|lane| load(*lane)).unwrap_or(0);
        self.dials.push(PendingDial { key, lane, since: now, target: target.clone() });
        Some(DialOrder { lane, target })
    }

    /// The target of the next dial; `None` if none is due.
    fn next_target(&self, now: Instant) -> Option<DialTarget> {
        let may_search = self.search_at.is_none_or(|at| now >= at);
        let mut avoid: Vec<RelayId> = vec![];
        for held in self.held.iter().filter(|held| held.state != HeldState::Serving) {
            push_new(&mut avoid, &held.relay);
        }
        let serving = self.serving().count();
        if serving == 0 {
            let fresh = self.dials.iter().any(|dial| now - dial.since < SLOW_DIAL_TIME);
            let idle = !fresh && self.dials.len() < MAX_DIALS;
            avoid.truncate(MAX_AVOID);
            // A draining relay may be the only one: then there is no hurry until it has gone.
            return (idle && (avoid.is_empty() || may_search)).then_some(DialTarget { avoid, only: vec![] });
        }
        // A region of one relay may have got another: one dial looks for it.
        let lookout = self.relays == 1 && self.search_at.is_some() && may_search;
        let wanted_sessions = if lookout { serving + 1 } else { self.per_relay * self.relays_wanted() };
        // A dial that hangs may be company for the next one, as long as there is no second relay.
        let fresh = self.dials.iter().filter(|dial| now - dial.since < SLOW_DIAL_TIME).count();
        let dials = if self.has_enough_relays() { self.dials.len() } else { fresh };
        if serving + dials >= wanted_sessions || self.dials.len() >= MAX_DIALS {
            return None;
        }
        let (mut plan, mut only) = (0, vec![]);
        for home in self.serving_relays() {
            plan += 1;
            let has = self.serving().filter(|held| held.relay == home).count();
            let may_get = self.dials.iter().filter(|dial| dial.target.allows(&home)).count();
            if has + may_get >= self.per_relay {
                push_new(&mut avoid, &home);
            } else {
                only.push(home);
            }
        }
        avoid.truncate(MAX_AVOID);
        if plan < MAX_RELAYS {
            // Two dials at once may lead to two more relays, which is one too many.
            if fresh > 0 {
                return None;
            }
            // With room at the relay that it has, wherever the dial leads is right.
            return (!only.is_empty() || may_search).then_some(DialTarget { avoid, only: vec![] });
        }
        (!only.is_empty() && may_search).then_some(DialTarget { avoid, only })
    }

    /// When to ask for an order again, if not before something else happens.
    pub(super) fn next_dial(&self, now: Instant) -> Option<Instant> {
        let serving = self.serving().count();
        let slow = self.dials.iter().map(|dial| dial.since + SLOW_DIAL_TIME).max();
        let alone = serving == 0 || !self.has_enough_relays();
        let slow = slow.filter(|_| alone && self.dials.len() < MAX_DIALS);
        let complete = serving + self.dials.len() >= self.per_relay.max(1) * MAX_RELAYS;
        let search = self.search_at.filter(|_| !complete);
        [self.pause_until, search, slow].into_iter().flatten().filter(|at| *at > now).min()
    }

    fn take_dial(&mut self, key: SessionKey) -> Option<PendingDial> {
        let place = self.dials.iter().position(|dial| dial.key == key)?;
        Some(self.dials.swap_remove(place))
    }

    fn pause(&mut self, until: Instant) {
        self.pause_until = Some(self.pause_until.map_or(until, |other| other.max(until)));
    }

    /// A dial failed. The next one comes after a pause, of at least `after` if the relay said so.
    pub(super) fn dial_failed(&mut self, key: SessionKey, now: Instant, after: Option<Duration>) {
        if self.take_dial(key).is_none() {
            return;
        }
        let mut wait = self.backoff.failure_delay(now, rand::random());
        if self.is_moving() {
            // The relay is being replaced: its successor is expected within seconds.
            wait = wait.min(DRAIN_SEARCH_INTERVAL);
        }
        let asked = after.map(|after| after.mul_f64(1.0 + rand::random::<f64>() / 2.0));
        self.pause(now + wait.max(asked.unwrap_or_default()));
    }

    /// A dial has ended without a session, and that is no reason to wait.
    pub(super) fn dial_dropped(&mut self, key: SessionKey) {
        self.take_dial(key);
    }

    /// Stops dialling for a while: the account's limit of sessions is reached.
    pub(super) fn stop_dialling(&mut self, now: Instant) {
        self.pause(now + SEARCH_INTERVAL.mul_f64(1.0 + rand::random::<f64>() / 2.0));
    }

    /// Records a dial that another relay answered with `elsewhere`.
    pub(super) fn dial_answered_elsewhere(
        &mut self,
        key: SessionKey,
        elsewhere: &HelloRedirect,
        now: Instant,
    ) -> SearchOutcome {
        let thin = self.take_dial(key).is_some_and(|dial| !dial.target.only.is_empty());
        self.relays = elsewhere.relays.max(1) as usize;
        if self.relays == 1 && !self.is_moving() {
            self.searches = 0;
            self.schedule_search(now);
            return SearchOutcome::Ended;
        }
        self.search_failed(thin, now)
    }

    /// Whether every relay that the client has drains.
    fn is_moving(&self) -> bool {
        self.serving().next().is_none() && self.is_served()
    }

    /// Records a search that did not reach the relay it was for.
    fn search_failed(&mut self, thin: bool, now: Instant) -> SearchOutcome {
        let jitter: f64 = rand::random();
        let moving = self.is_moving();
        self.searches += 1;
        if self.searches < MAX_FAST_SEARCHES {
            self.search_at = Some(now + MAX_SEARCH_DELAY.mul_f64(jitter));
            return SearchOutcome::GoesOn;
        }
        let later = self.searches - MAX_FAST_SEARCHES;
        if later < MAX_LATE_SEARCHES && !moving && !thin && self.serving_relays().len() < MAX_RELAYS {
            let wait = LATE_SEARCH_DELAY * 2_u32.pow(later / 2);
            self.search_at = Some(now + wait.mul_f64(0.75 + jitter / 2.0));
            return SearchOutcome::InVain;
        }
        self.searches = 0;
        let wait = match (moving, thin) {
            (true, _) => DRAIN_SEARCH_INTERVAL,
            (_, true) => FILL_INTERVAL,
            _ => SEARCH_INTERVAL,
        };
        self.search_at = Some(now + wait.mul_f64(0.75 + jitter / 2.0));
        match (moving, self.serving_relays().len() < MAX_RELAYS) {
            (true, _) => SearchOutcome::GoesOn,
            (_, true) => SearchOutcome::InVain,
            _ => SearchOutcome::Ended,
        }
    }

    /// Sets how many relays the region has.
    pub(super) fn set_relay_count(&mut self, relays: u32, now: Instant) {
        let relays = relays.max(1) as usize;
        let more = relays > self.relays;
        self.relays = relays;
        if more && self.serving_relays().len() < self.relays_wanted() {
            self.searches = 0;
            self.search_at = Some(now + MAX_NEWS_DELAY.mul_f64(rand::random()));
        }
        if relays == 1 && self.search_at.is_none() {
            self.schedule_search(now);
        }
    }

    /// Schedules the next search in a region of one relay.
    fn schedule_search(&mut self, now: Instant) {
        self.search_at = Some(now + ONE_RELAY_SEARCH_INTERVAL.mul_f64(1.0 + rand::random::<f64>() / 2.0));
    }

    /// Records a new session. Returns the sessions to leave: the new one if it is surplus, or the one that it replaces
    /// because its relay drains.
    pub(super) fn session_began(
        &mut self,
        key: SessionKey,
        welcome: &Welcome,
        now: Instant,
    ) -> Vec<SessionKey> {
        let (lane, thin) =
            self.take_dial(key).map_or((0, false), |dial| (dial.lane, !dial.target.only.is_empty()));
        self.per_relay = usize::from(welcome.sessions).clamp(1, lanes::MAX_LANES);
        self.relays = welcome.relays.max(1) as usize;
        self.backoff.session_began();
        self.pause_until = None;
        let plan = self.serving_relays();
        let has = self.serving().filter(|held| held.relay == welcome.relay).count();
        let third = has == 0 && plan.len() >= MAX_RELAYS;
        let state = if third || has >= self.per_relay { HeldState::Leaving } else { HeldState::Serving };
        self.held.push(HeldSession { key, relay: welcome.relay.clone(), lane, since: now, state });
        if state == HeldState::Leaving {
            // Counts as `elsewhere`, or a relay that ignores `avoid` would be dialled for ever.
            self.search_failed(thin, now);
            return vec![key];
        }
        (self.search_at, self.searches) = (None, 0);
        if self.relays == 1 {
            self.schedule_search(now);
        }
        let moving = self.held.iter_mut().find(|held| held.state == HeldState::Moving);
        moving.map_or(vec![], |held| {
            held.state = HeldState::Leaving;
            vec![held.key]
        })
    }

    /// A session's relay drains.
    pub(super) fn session_moves(&mut self, key: SessionKey) {
        if let Some(held) =
            self.held.iter_mut().find(|held| held.key == key && held.state == HeldState::Serving)
        {
            held.state = HeldState::Moving;
            (self.search_at, self.searches) = (None, 0);
        }
    }

    /// Records the end of a session or dial. Returns whether it has to be replaced.
    pub(super) fn session_ended(&mut self, key: SessionKey, now: Instant) -> bool {
        self.take_dial(key);
        let Some(place) = self.held.iter().position(|held| held.key == key) else { return false };
        let held = self.held.swap_remove(place);
        if held.state == HeldState::Leaving {
            return false;
        }
        (self.search_at, self.searches) = (None, 0);
        if held.state == HeldState::Moving {
            self.backoff.reset();
        }
        let lasted = now - held.since;
        let wait = self.backoff.session_ended_delay(lasted, now, rand::random());
        if wait == Duration::ZERO && !self.is_served() {
            // Pauses of earlier searches for a second relay are over: there is none left.
            self.pause_until = None;
        }
        let spread = if self.serving().next().is_some() {
            MAX_REDIAL_SPREAD.mul_f64(rand::random())
        } else {
            Duration::ZERO
        };
        if wait + spread > Duration::ZERO {
            self.pause(now + wait.max(spread));
        }
        true
    }
}

fn push_new(relays: &mut Vec<RelayId>, relay: &RelayId) {
    if !relays.contains(relay) {
        relays.push(relay.clone());
    }
}

#[cfg(test)]
mod tests;
