//! Which session takes the next stream.

/// How many more streams another lane's session may have where the caller's own carries bulk: they cost less than that.
const BULK_STREAMS: usize = 16;

/// What is on a session already. The greater, the worse for who comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    /// Whether one of the streams, or some together, move more than small messages.
    pub is_bulk: bool,
    /// How many streams are open.
    pub streams: usize,
}

/// One that could take the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<T> {
    /// Whether it lives on the caller's lane: a stream elsewhere wakes another thread for every message.
    pub(super) is_near: bool,
    pub(super) weight: Weight,
    pub(super) session: T,
}

/// The least of the caller's lane, if there is one. When that carries bulk, one of another lane that has none is better, as
/// long as it has not so many streams that it were no better off.
pub(super) fn choose<T>(candidates: impl Iterator<Item = Candidate<T>>) -> Option<T> {
    let (mut near, mut far): (Option<Candidate<T>>, Option<Candidate<T>>) = (None, None);
    for one in candidates {
        let least = if one.is_near { &mut near } else { &mut far };
        if least.as_ref().is_none_or(|least| one.weight < least.weight) {
            *least = Some(one);
        }
    }
    let is_better = |far: &Candidate<T>, near: &Candidate<T>| {
        near.weight.is_bulk && !far.weight.is_bulk && far.weight.streams < near.weight.streams + BULK_STREAMS
    };
    let chosen = match (near, far) {
        (Some(near), Some(far)) if is_better(&far, &near) => Some(far),
        (Some(near), _) => Some(near),
        (None, far) => far,
    };
    chosen.map(|one| one.session)
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
        let candidate = |(session, &(is_near, is_bulk, streams))| {
            let weight = Weight { is_bulk, streams };
            Candidate { is_near, weight, session }
        };
        choose(candidates.iter().enumerate().map(candidate))
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
    fn where_all_carry_bulk_it_stays_on_its_lane() {
        assert_eq!(chosen(&[(FAR, BULK, 0), (NEAR, BULK, 40)]), Some(1));
    }
}
