//! Many sessions are not closed in one go.
//!
//! What closing a session costs falls on its lane, where it would stand before the requests of everybody else. Nothing is
//! lost by the pauses: the suspended are refused every stream from the moment that the set is in place.

/// So many sessions are closed before the lanes get a chance to do something else.
pub(super) const AT_ONCE: usize = 16;

/// Does something with each of all these, in their order; `pause` is waited for whenever it has come to something
/// [`AT_ONCE`] times. Gives what it has come to.
pub(super) async fn few_at_a_time<T, R>(
    all: Vec<T>,
    mut act: impl FnMut(T) -> Option<R>,
    mut pause: impl AsyncFnMut(),
) -> Vec<R> {
    let mut done = Vec::new();
    for one in all {
        let Some(result) = act(one) else { continue };
        done.push(result);
        if done.len().is_multiple_of(AT_ONCE) {
            pause().await;
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn no_more_than_so_many_are_done_between_two_pauses_and_all_in_order() {
        let turns = RefCell::new(vec![vec![]]);
        // Every third is hit: the others cost nothing and need no pause.
        let act = |one: usize| {
            let is_hit = one.is_multiple_of(3);
            if is_hit {
                turns.borrow_mut().last_mut().unwrap().push(one);
            }
            is_hit.then_some(one)
        };
        let done = few_at_a_time((0..300).collect(), act, async || turns.borrow_mut().push(vec![])).await;
        let turns = turns.into_inner();
        assert_eq!(turns.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 16, 16, 16, 16, 4]);
        assert_eq!(turns.concat(), done);
        assert_eq!(done, (0..300).step_by(3).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn where_nothing_is_hit_nothing_is_waited_for() {
        let done = few_at_a_time(vec![1; 1_000], |_| None::<()>, async || panic!("there is no reason")).await;
        assert!(done.is_empty());
    }
}
