//! Which session takes the next stream.

/// How many more streams another lane's session may have where the caller's own carries bulk: they cost less than that.
const BULK_STREAMS: usize = 16;

/// What is on a session already. The greater, the worse for who comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionLoad {
    /// Whether one of the streams, or some together, move more than small messages.
    pub(crate) is_bulk: bool,
    /// How many streams are open.
    pub(crate) streams: usize,
}

/// Of the sessions of the caller's lane the least: a stream elsewhere wakes another thread for every message. When that
/// carries bulk, one of another lane that has none is better, as long as it has not so many streams that it were no better
/// off. The others are looked at only when they are in question, as what is known of them is in another core's cache.
pub(super) fn choose<T>(
    near: impl Iterator<Item = (SessionLoad, T)>,
    far: impl Iterator<Item = (SessionLoad, T)>,
) -> Option<T> {
    let Some((load, near)) = near.min_by_key(|(load, _)| *load) else {
        return far.min_by_key(|(load, _)| *load).map(|(_, session)| session);
    };
    if !load.is_bulk {
        return Some(near);
    }
    let better = |far: &(SessionLoad, T)| !far.0.is_bulk && far.0.streams < load.streams + BULK_STREAMS;
    let far = far.filter(better).min_by_key(|(load, _)| *load);
    Some(far.map_or(near, |(_, session)| session))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: bool = true;
    const FAR: bool = false;
    const BULK: bool = true;
    const SMALL: bool = false;

    /// The index of the one that is chosen.
    fn chosen(candidates: &[(bool, bool, usize)]) -> Option<usize> {
        let those = |near: bool| {
            let all = candidates.iter().enumerate().filter(move |(_, (is_near, ..))| *is_near == near);
            all.map(|(index, &(_, is_bulk, streams))| (SessionLoad { is_bulk, streams }, index))
        };
        choose(those(NEAR), those(FAR))
    }

    #[test]
    fn a_stream_stays_on_its_lane_however_many_are_there() {
        assert_eq!(chosen(&[(FAR, SMALL, 0), (NEAR, SMALL, 900), (NEAR, SMALL, 800)]), Some(2));
    }

    #[test]
    fn without_a_session_on_its_lane_it_goes_where_the_least_is() {
        assert_eq!(chosen(&[(FAR, SMALL, 5), (FAR, BULK, 1), (FAR, SMALL, 3)]), Some(2));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn it_does_not_queue_behind_bulk_where_another_has_none() {
        assert_eq!(chosen(&[(NEAR, BULK, 1), (FAR, SMALL, 0)]), Some(1));
        assert_eq!(chosen(&[(NEAR, BULK, 1), (FAR, SMALL, 16)]), Some(1));
        assert_eq!(chosen(&[(NEAR, BULK, 1), (FAR, SMALL, 17)]), Some(0), "there it would wait, too");
        assert_eq!(chosen(&[(NEAR, BULK, 1), (NEAR, SMALL, 30), (FAR, SMALL, 0)]), Some(1));
    }

    #[test]
    fn other_lanes_are_not_looked_at_without_need() {
        let near = std::iter::once((SessionLoad { is_bulk: false, streams: 9 }, "near"));
        let far = std::iter::from_fn(|| -> Option<(SessionLoad, &str)> { panic!("it was looked at") });
        assert_eq!(choose(near, far), Some("near"));
    }

    #[test]
    fn where_all_carry_bulk_it_stays_on_its_lane() {
        assert_eq!(chosen(&[(FAR, BULK, 0), (NEAR, BULK, 40)]), Some(1));
    }
}
