use super::*;
use adit_protocol::Account;
use std::collections::HashMap;

fn id(relay: &str) -> RelayId {
    relay.parse().unwrap()
}

fn welcome(relay: &str, sessions: u8, relays: u32) -> Welcome {
    Welcome {
        version: 1,
        mux: "h2".into(),
        relay: id(relay),
        region: "eu.example.com".into(),
        session: "s".parse().unwrap(),
        sessions,
        relays,
        account: Account::managed("me"),
        credential: String::new(),
        credential_expires: 0,
        renew_with_token: false,
        opened: vec![],
        refused: vec![],
        provider: Default::default(),
    }
}

/// A region in which dials reach the relays at random.
struct Region {
    plan: SessionPlan,
    now: Instant,
    relays: Vec<&'static str>,
    sessions: u8,
    next: SessionKey,
    dials: usize,
    held: HashMap<SessionKey, &'static str>,
    /// Sessions that the client has let go in this step.
    left: Vec<SessionKey>,
}

impl Region {
    fn new(relays: &[&'static str], sessions: u8) -> Self {
        let (plan, now) = (SessionPlan::new(), Instant::now());
        let (relays, held) = (relays.to_vec(), HashMap::new());
        Self { plan, now, relays, sessions, next: 0, dials: 0, held, left: vec![] }
    }

    /// Makes all dials that are ordered at this moment, and answers them.
    fn step(&mut self) {
        while self.dial_once() {}
    }

    fn dial_once(&mut self) -> bool {
        let mut open = vec![];
        while let Some(order) = self.plan.next_order(self.next, self.now) {
            open.push((self.next, order));
            self.next += 1;
            assert!(open.len() < 100, "dials without end");
        }
        let dialled = !open.is_empty();
        for (key, order) in open {
            self.dials += 1;
            if self.relays.is_empty() {
                self.plan.dial_failed(key, self.now, None);
                continue;
            }
            let relay = self.relays[rand::random::<u32>() as usize % self.relays.len()];
            let relays = u32::try_from(self.relays.len()).unwrap();
            if !order.target.allows(&id(relay)) {
                self.plan.dial_answered_elsewhere(key, &HelloRedirect { relay: id(relay), relays }, self.now);
                continue;
            }
            self.held.insert(key, relay);
            for left in self.plan.session_began(key, &welcome(relay, self.sessions, relays), self.now) {
                self.left.push(left);
                self.held.remove(&left);
                self.plan.session_ended(left, self.now);
            }
        }
        dialled
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
            self.now = self.plan.next_dial(self.now).map_or(end, |at| at.min(end));
        }
    }

    fn count(&self, relay: &str) -> usize {
        self.held.values().filter(|held| **held == relay).count()
    }
}

const RELAYS: [&str; 26] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u",
    "v", "w", "x", "y", "z",
];

#[test]
fn a_client_finds_two_relays_and_fills_each() {
    for count in [2, 3, 5] {
        for _ in 0..100 {
            let mut region = Region::new(&RELAYS[..count], 2);
            // One time of 256 all eight tries in a row reach the relay that it has: then it waits.
            region.run(Duration::from_secs(1800));
            assert_eq!(region.plan.serving_relays().len(), 2, "{:?}", region.held);
            assert!(region.left.is_empty(), "no session is opened in vain");
            region.run(Duration::from_secs(48 * 3600));
            let filled = region.plan.serving_relays().iter().all(|home| region.count(home.as_str()) == 2);
            assert!(filled && region.held.len() == 4, "{:?}", region.held);
            assert!(region.plan.is_complete());
            let dials = region.dials;
            region.run(Duration::from_secs(3600));
            assert_eq!(region.dials, dials, "a complete client dials no more");
        }
    }
}

#[test]
fn in_a_large_region_few_dials_fill_two_relays() {
    for _ in 0..100 {
        let mut region = Region::new(&RELAYS, 2);
        region.run(Duration::from_secs(60));
        assert_eq!(region.plan.serving_relays().len(), 2, "{:?}", region.held);
        assert!(region.dials <= 30, "{}", region.dials);
        let dials = region.dials;
        region.run(Duration::from_secs(10 * 3600));
        assert!(region.dials - dials <= 8 * 16, "{}", region.dials - dials);
        assert_eq!(region.plan.serving_relays().len(), 2);
    }
}

#[test]
fn a_third_relay_that_answers_all_the_same_is_left() {
    let mut plan = SessionPlan::new();
    let now = Instant::now();
    plan.next_order(0, now).unwrap();
    plan.session_began(0, &welcome("a", 2, 3), now);
    plan.next_order(1, now).unwrap();
    plan.session_began(1, &welcome("b", 2, 3), now);
    assert_eq!(
        plan.next_order(2, now).unwrap().target,
        DialTarget { avoid: vec![], only: vec![id("a"), id("b")] }
    );
    assert_eq!(plan.session_began(2, &welcome("c", 2, 3), now), vec![2]);
    assert!(plan.has_enough_relays() && !plan.is_complete());
    assert!(!plan.session_ended(2, now), "it is not missed");
    assert_eq!(plan.next_order(3, now), None, "not in a rush");
    let now = now + MAX_SEARCH_DELAY;
    plan.next_order(3, now).unwrap();
    assert!(plan.session_began(3, &welcome("a", 2, 3), now).is_empty());
    assert_eq!(
        plan.next_order(4, now).unwrap().target,
        DialTarget { avoid: vec![id("a")], only: vec![id("b")] }
    );
}

#[test]
fn a_client_that_hears_of_a_second_relay_dials_it_soon() {
    let mut region = Region::new(&["a"], 2);
    region.run(Duration::from_secs(60));
    let dials = region.dials;
    region.relays.push("b");
    region.plan.set_relay_count(2, region.now);
    region.run(Duration::from_secs(10));
    assert!(region.dials > dials);
    region.run(Duration::from_secs(50));
    assert_eq!((region.count("a"), region.count("b") > 0), (2, true));
    // Redis forgets for a moment: nothing is let go, and nothing is dialled.
    let dials = region.dials;
    region.plan.set_relay_count(1, region.now);
    region.plan.set_relay_count(2, region.now);
    assert!(region.plan.has_enough_relays() && region.left.is_empty() && region.dials == dials);
}

#[test]
fn while_one_dial_hangs_the_second_relay_is_found_by_another() {
    let mut plan = SessionPlan::new();
    let now = Instant::now();
    plan.next_order(0, now).unwrap();
    plan.session_began(0, &welcome("a", 1, 3), now);
    assert!(plan.next_order(1, now).is_some());
    assert_eq!(plan.next_order(2, now), None, "it may lead to a third relay");
    let later = plan.next_dial(now).unwrap();
    assert_eq!(later, now + SLOW_DIAL_TIME);
    plan.next_order(2, later).unwrap();
    assert!(plan.session_began(2, &welcome("b", 1, 3), later).is_empty());
    assert_eq!(plan.session_began(1, &welcome("c", 1, 3), later), vec![1]);
}

#[test]
fn the_only_relay_is_enough_and_a_second_one_is_found_in_time() {
    let mut region = Region::new(&["a"], 2);
    region.run(Duration::from_secs(60));
    assert_eq!((region.count("a"), region.dials), (2, 2));
    region.run(Duration::from_secs(3600));
    assert!(region.dials < 20, "{}", region.dials);
    region.relays.push("b");
    region.run(Duration::from_secs(1200));
    assert_eq!((region.count("a"), region.count("b")), (2, 2));
}

#[test]
fn a_relay_that_ignores_avoid_is_not_dialled_for_ever() {
    let (mut plan, mut now, mut dials) = (SessionPlan::new(), Instant::now(), 0);
    let end = now + SEARCH_INTERVAL / 2;
    while now < end {
        while plan.next_order(dials, now).is_some() {
            for left in plan.session_began(dials, &welcome("a", 2, u32::MAX), now) {
                plan.session_ended(left, now);
            }
            dials += 1;
        }
        now = plan.next_dial(now).map_or(end, |at| at.min(end));
    }
    let least = 2 + SessionKey::from(MAX_FAST_SEARCHES);
    assert!((least..least + SessionKey::from(MAX_LATE_SEARCHES)).contains(&dials), "{dials}");
}

#[test]
fn sessions_are_spread_over_lanes() {
    let mut plan = SessionPlan::new();
    let now = Instant::now();
    let mut lanes = vec![];
    for (key, relay) in [(0, "a"), (1, "a"), (2, "b"), (3, "b")] {
        lanes.push(plan.next_order(key, now).unwrap().lane);
        plan.session_began(key, &welcome(relay, 2, 2), now);
    }
    lanes.sort_unstable();
    assert_eq!(lanes, [0, 0, 1, 1]);
}

#[test]
fn a_draining_relay_is_let_go_when_the_replacement_is_there() {
    let mut region = Region::new(&["a", "b"], 1);
    region.run(Duration::from_secs(60));
    let moving = *region.held.iter().find(|(_, relay)| **relay == "a").unwrap().0;
    region.plan.session_moves(moving);
    assert!(region.left.is_empty());
    region.relays = vec!["b", "c"];
    region.run(Duration::from_secs(60));
    assert_eq!(region.left, [moving]);
    assert_eq!((region.count("b"), region.count("c")), (1, 1));
}

#[test]
fn a_second_relay_that_load_balancers_show_late_is_found_soon() {
    let mut late = 0;
    for _ in 0..1_000 {
        // There are two, and every dial reaches the first.
        let mut region = Region::new(&["a", "a"], 1);
        region.run(Duration::from_secs(1));
        region.relays = vec!["a", "b"];
        region.run(Duration::from_secs(10));
        late += usize::from(region.plan.serving_relays().len() < 2);
    }
    // It has five dials in this time, of which every second one reaches the other relay.
    assert!(late < 100, "{late} of 1000 still have one relay");
}

#[test]
fn a_second_relay_that_is_never_reached_costs_few_dials() {
    let mut region = Region::new(&["a", "a"], 1);
    region.run(Duration::from_secs(60));
    assert!((10..30).contains(&region.dials), "{}", region.dials);
    let dials = region.dials;
    region.run(Duration::from_secs(3600));
    assert!(region.dials - dials < 2 * 3600, "{}", region.dials - dials);
}

#[test]
fn the_only_relay_is_not_dialled_in_a_rush_while_it_drains() {
    let mut region = Region::new(&["a"], 1);
    region.run(Duration::from_secs(10));
    region.plan.session_moves(0);
    let dials = region.dials;
    region.run(Duration::from_secs(30));
    assert!(region.dials > dials && region.dials - dials < 30 * 9, "{}", region.dials - dials);
    assert!(region.left.is_empty());
    region.relays = vec!["b"];
    region.run(Duration::from_secs(10));
    assert_eq!((region.left.as_slice(), region.count("b")), ([0].as_slice(), 1));
}

/// For how long a region stays without a session once its relay is there again.
fn time_without_session(region: &mut Region, relay: &'static str) -> Duration {
    region.relays = vec![relay];
    let back = region.now;
    loop {
        region.step();
        if !region.held.is_empty() {
            return region.now - back;
        }
        region.now = region.plan.next_dial(region.now).expect("it is dialled again");
    }
}

#[test]
fn after_a_planned_restart_the_client_is_back_within_a_second() {
    for _ in 0..100 {
        let mut region = Region::new(&["a"], 1);
        region.run(Duration::from_secs(60));
        region.plan.session_moves(0);
        // Its listeners are closed: all dials fail while it waits for streams.
        region.relays.clear();
        region.run(Duration::from_secs(32));
        region.held.remove(&0);
        region.plan.session_ended(0, region.now);
        region.run(Duration::from_secs(2));
        let late = time_without_session(&mut region, "a");
        assert!(late < Duration::from_secs(1), "{late:?}");
    }
}

#[test]
fn a_replacement_of_a_draining_relay_is_found_within_a_second() {
    let mut region = Region::new(&["a"], 1);
    region.run(Duration::from_secs(60));
    region.plan.session_moves(0);
    region.relays.clear();
    region.run(Duration::from_secs(120));
    region.held.clear();
    let late = time_without_session(&mut region, "b");
    assert!(late <= DRAIN_SEARCH_INTERVAL, "{late:?}");
}

#[test]
fn searches_in_vain_do_not_slow_down_the_dial_after_a_loss() {
    let mut region = Region::new(&["a", "a"], 1);
    region.run(Duration::from_secs(10));
    // A second relay is known and cannot be reached for an hour.
    region.relays.clear();
    region.run(Duration::from_secs(3600));
    region.held.clear();
    region.plan.session_ended(0, region.now);
    let late = time_without_session(&mut region, "a");
    assert!(late < Duration::from_millis(100), "{late:?}");
}

#[test]
fn one_session_too_many_is_left() {
    let mut plan = SessionPlan::new();
    let now = Instant::now();
    plan.next_order(0, now).unwrap();
    assert!(plan.session_began(0, &welcome("a", 1, 2), now).is_empty());
    plan.next_order(1, now).unwrap();
    assert_eq!(plan.session_began(1, &welcome("a", 1, 2), now), vec![1]);
    assert!(!plan.session_ended(1, now), "it is not missed");
}

#[test]
fn without_any_session_a_slow_dial_gets_company() {
    let mut plan = SessionPlan::new();
    let now = Instant::now();
    assert!(plan.next_order(0, now).is_some());
    assert!(plan.next_order(1, now).is_none());
    let next = plan.next_dial(now).unwrap();
    assert_eq!(next, now + SLOW_DIAL_TIME);
    assert!(plan.next_order(1, next).is_some());
    assert!(plan.next_order(2, next).is_none());
    assert!(plan.next_order(2, next + SLOW_DIAL_TIME).is_some());
    assert!(plan.next_order(3, next + SLOW_DIAL_TIME * 5).is_none());
}

#[test]
fn an_outage_is_survived_with_few_dials() {
    let mut region = Region::new(&["a", "b"], 2);
    region.run(Duration::from_secs(60));
    for key in region.held.drain().map(|(key, _)| key).collect::<Vec<_>>() {
        region.plan.session_ended(key, region.now);
    }
    region.relays.clear();
    let dials = region.dials;
    region.run(Duration::from_secs(600));
    assert!((40..300).contains(&(region.dials - dials)), "{}", region.dials - dials);
    region.relays = vec!["a", "b"];
    region.run(Duration::from_secs(60));
    assert_eq!((region.count("a"), region.count("b")), (2, 2));
}
