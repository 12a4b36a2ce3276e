use super::*;
use crate::cluster::registry::Claim;
use adit_protocol::{Account, SessionId, TunnelOptions};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);

fn host(number: u8) -> Endpoint {
    Endpoint::host(&format!("h{number}.example.com"))
}

fn relay(number: u8) -> RelayId {
    format!("relay-{number}").parse().unwrap()
}

fn record(number: u8) -> RelayRecord {
    RelayRecord { relay: relay(number), peer: None, sessions: 0, streams: 0, draining: false }
}

fn session(number: u8, relay_number: u8) -> RowSession {
    let session: SessionId = format!("s{number}").parse().unwrap();
    RowSession { session, relay: relay(relay_number) }
}

/// A row of the account that owns this generation, with sessions of these numbers on relays of these numbers.
fn row(endpoint: u8, generation: u64, sessions: &[(u8, u8)]) -> Row {
    let owner = format!("owner-{generation}");
    let mut sessions: Vec<_> = sessions.iter().map(|(s, r)| session(*s, *r)).collect();
    sessions.sort_unstable();
    Row {
        endpoint: host(endpoint),
        account: Account::managed(&owner),
        instance: owner.parse().unwrap(),
        generation,
        tunnel: owner.parse().unwrap(),
        options: TunnelOptions::default(),
        sessions,
    }
}

/// The claim of this relay, which is relay 0.
fn own(endpoint: u8, generation: u64, number: u8) -> Claim {
    let Row { endpoint, account, instance, generation, tunnel, options, .. } = row(endpoint, generation, &[]);
    let RowSession { session, relay } = session(number, 0);
    Claim { endpoint, account, instance, generation, tunnel, options, session, relay }
}

/// A state that has a snapshot already: rows with versions up to 100, and the relays 1 to 3.
fn started(rows: &[Row]) -> State {
    let mut state = State::new(relay(0));
    restart(&mut state, 1, 100, rows);
    state
}

fn restart(state: &mut State, epoch: u64, version: u64, rows: &[Row]) {
    state.begin_restart(epoch, version, (1..=3).map(|number| (version, record(number))).collect());
    state.add_rows(rows.iter().cloned().map(|row| (version, row)));
    state.end_restart();
}

fn sessions(state: &mut State, endpoint: u8) -> Vec<RowSession> {
    state.view(&host(endpoint)).map(|row| row.sessions).unwrap_or_default()
}

fn pass(state: &mut State, time: Duration, heard: &[u8]) {
    for _ in 0..time.as_secs() {
        for number in heard {
            let version = state.floor() + 1;
            state.follow(Change { version, what: ChangeKind::Beat(record(*number)) });
        }
        state.pass(SECOND);
    }
}

/// All that readers see.
fn shown(state: &mut State) -> (BTreeMap<Endpoint, Row>, Vec<RelayRecord>) {
    let views =
        (0..8).filter_map(|number| state.view(&host(number)).map(|row| (host(number), row))).collect();
    (views, state.healthy())
}

/// The version at which what is known of each endpoint came to be; the floor where it has no row.
fn versions(state: &State) -> Vec<u64> {
    let known = |endpoint: &Endpoint| {
        let row = state.rows.get(endpoint).map(|(version, _)| *version);
        row.or(state.gone.get(endpoint).copied()).unwrap_or(state.floor)
    };
    (0..8).map(|number| known(&host(number))).collect()
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let row_or_gone =
        (0..4_u8, 1..4_u64, vec((0..6_u8, 1..4_u8), 0..4)).prop_map(|(endpoint, generation, ends)| {
            let mut ends = ends;
            ends.sort_unstable();
            ends.dedup_by_key(|(session, _)| *session);
            if ends.is_empty() {
                ChangeKind::Gone(host(endpoint))
            } else {
                ChangeKind::Row(row(endpoint, generation, &ends))
            }
        });
    let what = prop_oneof![
        6 => row_or_gone,
        1 => (1..4_u8).prop_map(|number| ChangeKind::Beat(record(number))),
        1 => (1..4_u8).prop_map(|number| ChangeKind::Left(relay(number))),
        1 => Just(ChangeKind::Unreadable),
    ];
    vec(what, 1..40)
        .prop_map(|all| (101..).zip(all).map(|(version, what)| Change { version, what }).collect())
}

proptest! {
    #[test]
    fn changes_in_any_order_and_any_number_make_the_same_table(
        changes in changes(),
        order in vec(any::<prop::sample::Index>(), 0..80),
        claims in vec((0..4_u8, 1..4_u64, 0..6_u8), 0..4),
    ) {
        let with_own = |state: &mut State| for (endpoint, generation, number) in &claims {
            state.settle(&own(*endpoint, *generation, *number));
        };
        let mut in_order = started(&[row(0, 1, &[(1, 1)])]);
        with_own(&mut in_order);
        for change in &changes {
            in_order.follow(change.clone());
        }
        let mut shuffled = started(&[row(0, 1, &[(1, 1)])]);
        // Some come early, in any order and more than once, as answers to claims do; the stream brings all.
        for place in &order {
            shuffled.apply(place.get(&changes).clone());
        }
        with_own(&mut shuffled);
        let (early, mut late) = changes.split_at(changes.len() / 2);
        for change in early {
            let before = versions(&shuffled);
            shuffled.follow(change.clone());
            prop_assert!(before.iter().zip(versions(&shuffled)).all(|(before, after)| *before <= after));
        }
        // What the stream has brought already changes nothing when it comes again.
        for place in &order {
            shuffled.apply(place.get(early.first().map_or(&changes[..], |_| early)).clone());
        }
        while let Some((change, rest)) = late.split_first() {
            shuffled.follow(change.clone());
            late = rest;
        }
        prop_assert_eq!(shown(&mut in_order), shown(&mut shuffled));
    }

    #[test]
    fn changes_without_a_stream_converge_as_well(changes in changes(), seed in any::<u64>()) {
        let mut in_order = started(&[]);
        changes.iter().for_each(|change| in_order.apply(change.clone()));
        let mut mixed = changes.clone();
        // A shuffle that depends on the seed alone.
        mixed.sort_by_key(|change| (change.version ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut shuffled = started(&[]);
        mixed.iter().for_each(|change| shuffled.apply(change.clone()));
        prop_assert_eq!(shown(&mut in_order), shown(&mut shuffled));
    }

    #[test]
    fn the_table_has_all_own_sessions_and_no_lesser_owner(
        changes in changes(),
        claims in vec((0..4_u8, 1..4_u64, 0..6_u8), 1..6),
        flush_at in any::<prop::sample::Index>(),
    ) {
        let mut state = started(&[]);
        for (endpoint, generation, number) in &claims {
            state.settle(&own(*endpoint, *generation, *number));
        }
        let flush_at = flush_at.index(changes.len());
        for (place, change) in changes.iter().enumerate() {
            if place == flush_at {
                restart(&mut state, 2, change.version - 1, &[]);
            }
            state.follow(change.clone());
            let live = state.live();
            for claim in &live {
                if let Some(view) = state.view(&claim.endpoint) {
                    let newer = live.iter().any(|other| other.endpoint == claim.endpoint && other.generation > claim.generation);
                    prop_assert!(newer || view.sessions.contains(&claim.row_session()), "{claim:?} {view:?}");
                    prop_assert!(view.generation >= claim.generation);
                } else {
                    prop_assert!(false, "{claim:?} is not shown");
                }
            }
        }
    }
}

#[test]
fn a_flush_takes_no_route_away_that_is_announced_again() {
    let mut state = started(&[row(0, 5, &[(1, 1), (2, 2)]), row(1, 1, &[(3, 3)])]);
    restart(&mut state, 2, 1_000, &[]);
    assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
    state.follow(Change { version: 1_001, what: ChangeKind::Row(row(0, 5, &[(1, 1)])) });
    assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
    // It was announced, and has ended since: now it is gone, and the other is still there.
    state.follow(Change { version: 1_002, what: ChangeKind::Gone(host(0)) });
    assert_eq!(sessions(&mut state, 0), [session(2, 2)]);
    state.follow(Change { version: 1_003, what: ChangeKind::Row(row(0, 5, &[(2, 2)])) });
    pass(&mut state, 5 * SECOND, &[1, 2, 3]);
    assert_eq!(sessions(&mut state, 1), [session(3, 3)]);
    pass(&mut state, 2 * SECOND, &[1, 2, 3]);
    assert_eq!(sessions(&mut state, 1), [], "nobody has announced it");
    assert_eq!(sessions(&mut state, 0), [session(2, 2)]);
}

#[test]
fn a_second_snapshot_after_a_flush_takes_no_route_away() {
    let mut state = started(&[row(0, 5, &[(1, 1), (2, 2)])]);
    for version in [1_000, 1_001] {
        state.begin_restart(2, version, vec![(version, record(1))]);
        state.add_rows([(version, row(0, 5, &[(1, 1)]))]);
        state.end_restart();
        assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
        assert_eq!(state.healthy(), [record(1), record(2), record(3)]);
    }
    restart(&mut state, 3, 2_000, &[]);
    assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
}

#[test]
fn after_a_flush_a_lesser_owner_gets_nothing_back() {
    let mut state = started(&[row(0, 5, &[(1, 1)])]);
    restart(&mut state, 2, 1_000, &[row(0, 4, &[(2, 2)])]);
    assert_eq!(sessions(&mut state, 0), [session(1, 1)]);
    assert_eq!(state.superseded(&own(0, 4, 9)), Some(5));
    state.follow(Change { version: 1_001, what: ChangeKind::Row(row(0, 6, &[(3, 3)])) });
    assert_eq!(sessions(&mut state, 0), [session(3, 3)]);
}

#[test]
fn a_new_snapshot_of_the_same_content_drops_what_it_lacks() {
    let mut state = started(&[row(0, 5, &[(1, 1)]), row(1, 1, &[(2, 2)])]);
    restart(&mut state, 1, 200, &[row(0, 5, &[(1, 1)])]);
    assert_eq!(sessions(&mut state, 0), [session(1, 1)]);
    assert_eq!(sessions(&mut state, 1), []);
    // Also when the registry has gone back, as after a failover that lost writes.
    restart(&mut state, 1, 150, &[row(0, 4, &[(2, 2)])]);
    assert_eq!(sessions(&mut state, 0), [session(2, 2)]);
}

#[test]
fn a_relay_is_lost_by_silence_only_while_others_are_heard() {
    let mut state = started(&[row(0, 5, &[(1, 1), (2, 2)])]);
    pass(&mut state, 6 * SECOND, &[2, 3]);
    assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
    pass(&mut state, SECOND, &[2, 3]);
    assert_eq!(sessions(&mut state, 0), [session(2, 2)]);
    assert_eq!(state.lost(), [(relay(1), vec![host(0)])]);
    assert_eq!(state.healthy(), [record(2), record(3)]);
    let version = state.floor() + 1;
    state.follow(Change { version, what: ChangeKind::Beat(record(1)) });
    assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
    // The registry was gone in between: the time before does not count.
    pass(&mut state, 5 * SECOND, &[]);
    let (epoch, floor) = (state.epoch(), state.floor());
    restart(&mut state, epoch, floor, &[row(0, 5, &[(1, 1), (2, 2)])]);
    pass(&mut state, 5 * SECOND, &[]);
    assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
}

#[test]
fn a_relay_that_had_left_returns_with_its_next_claim_or_beat() {
    let mut state = started(&[row(0, 5, &[(1, 1), (2, 2)])]);
    state.follow(Change { version: 101, what: ChangeKind::Left(relay(1)) });
    assert_eq!(sessions(&mut state, 0), [session(2, 2)]);
    assert_eq!(state.healthy(), [record(2), record(3)]);
    // Its claim came before its beat.
    state.follow(Change { version: 102, what: ChangeKind::Row(row(1, 1, &[(3, 1)])) });
    assert_eq!(sessions(&mut state, 1), [session(3, 1)]);
    assert_eq!(sessions(&mut state, 0), [session(2, 2)]);
    state.follow(Change { version: 103, what: ChangeKind::Beat(record(1)) });
    assert_eq!(sessions(&mut state, 0), [session(1, 1), session(2, 2)]);
    // A relay that has left for good is forgotten once no row speaks of it.
    state.follow(Change { version: 104, what: ChangeKind::Left(relay(1)) });
    state.follow(Change { version: 105, what: ChangeKind::Row(row(0, 5, &[(2, 2)])) });
    state.follow(Change { version: 106, what: ChangeKind::Gone(host(1)) });
    state.pass(RELAY_TTL * 2);
    assert!(state.lost().iter().all(|(lost, _)| *lost != relay(1)));
}

#[test]
fn a_relay_never_loses_itself() {
    let mut state = started(&[row(0, 5, &[(1, 0)])]);
    state.settle(&own(0, 5, 1));
    state.set_record(Some(record(0)));
    pass(&mut state, 60 * SECOND, &[]);
    let version = state.floor() + 1;
    state.follow(Change { version, what: ChangeKind::Left(relay(0)) });
    assert_eq!(sessions(&mut state, 0), [session(1, 0)]);
    assert_eq!(state.healthy(), [record(0)]);
    assert!(state.lost().iter().all(|(lost, _)| *lost != relay(0)));
}

#[test]
fn a_session_in_the_registry_alone_is_a_stray() {
    let mut state = started(&[row(0, 5, &[(1, 0), (2, 1)]), row(1, 5, &[(1, 0)])]);
    assert_eq!(sessions(&mut state, 0), [session(2, 1)]);
    assert_eq!(sessions(&mut state, 1), []);
    let released = |state: &mut State, claims: &[Claim]| {
        let mut plan = state.plan(claims);
        plan.release.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
        plan.release.into_iter().map(|release| release.endpoint).collect::<Vec<_>>()
    };
    assert_eq!(released(&mut state, &[]), [host(0), host(1)]);
    // While the registry is asked, what it has may be the answer that is under way.
    state.begin(&own(1, 5, 1));
    state.view(&host(1));
    assert_eq!(released(&mut state, &[]), [host(0)]);
    assert_eq!(sessions(&mut state, 1), []);
    state.settle(&own(1, 5, 1));
    assert_eq!(sessions(&mut state, 1), [session(1, 0)]);
    state.forget(&own(1, 5, 1));
    assert_eq!(sessions(&mut state, 1), []);
    assert_eq!(released(&mut state, &[]), [host(0), host(1)]);
}

#[test]
fn what_the_registry_lacks_is_announced_unless_it_is_superseded() {
    let mut state = started(&[row(0, 5, &[(1, 0)]), row(1, 5, &[(2, 1)]), row(2, 6, &[(3, 1)])]);
    let claims = [own(0, 5, 1), own(1, 5, 1), own(2, 5, 1), own(3, 1, 1)];
    let mut plan = state.plan(&claims);
    plan.announce.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    assert_eq!(plan.announce, [own(1, 5, 1), own(3, 1, 1)]);
    assert_eq!(plan.release, []);
}

#[test]
fn a_misbehaving_peer_fills_the_table_to_its_bounds_alone() {
    let mut state = started(&[]);
    let many = Row { sessions: (1..=200).map(|number| session(number, number)).collect(), ..row(0, 1, &[]) };
    state.follow(Change { version: 101, what: ChangeKind::Row(many) });
    assert_eq!(sessions(&mut state, 0).len(), MAX_SESSIONS);
    for number in 0..2 * super::super::MAX_RELAYS as u64 {
        let relay: RelayId = format!("flood-{number}").parse().unwrap();
        let what = ChangeKind::Beat(RelayRecord { relay, ..record(1) });
        state.follow(Change { version: 102 + number, what });
    }
    // The relays of which only the row speaks take places, too, but three of them have records.
    assert_eq!(state.healthy().len(), super::super::MAX_RELAYS - (MAX_SESSIONS - 3));
}
